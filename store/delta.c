#include "store/delta.h"

#include "base/endian.h"

/* Words that are quicker copied one by one than by a call. */
#define SHORT_RUN 4u

uint32_t delta_count(const void *page, const void *base)
{
	const uint8_t *a = page, *b = base;
	uint32_t n = 0;

	for (size_t i = 0; i < PAGE_BYTES; i += 8)
		n += get_le64(a + i) != get_le64(b + i);
	return n;
}

bool delta_within(const void *page, const void *base, uint32_t words)
{
	const uint8_t *a = page, *b = base;
	uint32_t n = 0;

	for (size_t i = 0; i < PAGE_BYTES && n <= words; i += 64 * 8)
		for (size_t k = i; k < i + 64 * 8; k += 8)
			n += get_le64(a + k) != get_le64(b + k);
	return n <= words;
}

uint32_t delta_gather(const void *page, const void *base, uint8_t *bitmap, uint8_t *words)
{
	const uint8_t *a = page, *b = base;
	uint8_t *to = words;

	for (size_t i = 0; i < DELTA_BITMAP_BYTES; i++) {
		unsigned int bits = 0;

		for (unsigned int bit = 0; bit < 8; bit++, a += 8, b += 8) {
			if (get_le64(a) == get_le64(b))
				continue;
			bits |= 1u << bit;
			memcpy(to, a, 8);
			to += 8;
		}
		bitmap[i] = (uint8_t)bits;
	}
	return (uint32_t)(to - words) / 8;
}

static inline uint32_t count(const uint8_t *bitmap)
{
	uint32_t n = 0;

	for (size_t i = 0; i < DELTA_BITMAP_BYTES; i += 8)
		n += (uint32_t)__builtin_popcountll(get_le64(bitmap + i));
	return n;
}

#ifdef __x86_64__
/* By the instruction, which not all processors of this kind have. */
__attribute__((target("popcnt"))) static uint32_t count_quickly(const uint8_t *bitmap)
{
	return count(bitmap);
}

uint32_t delta_bitmap_count(const uint8_t *bitmap)
{
	return __builtin_cpu_supports("popcnt") ? count_quickly(bitmap) : count(bitmap);
}
#else
uint32_t delta_bitmap_count(const uint8_t *bitmap)
{
	return count(bitmap);
}
#endif

/* Not memcpy(): the compiler would make of it an instruction that takes long to begin, as it sees
 * that whole words are copied. */
static void copy_run(uint8_t *to, const uint8_t *from, unsigned int n)
{
	if (n > SHORT_RUN)
		memmove(to, from, (size_t)n * 8);
	else
		for (unsigned int k = 0; k < n; k++)
			memcpy(to + k * 8, from + k * 8, 8);
}

/* What was rewritten are mostly long runs of words, which are copied as such. */
void delta_apply(uint8_t *page, const uint8_t *bitmap, const uint8_t *words)
{
	for (size_t i = 0; i < DELTA_BITMAP_BYTES; i += 8, page += 64 * 8) {
		uint64_t bits = get_le64(bitmap + i);
		unsigned int at = 0;

		while (bits) {
			unsigned int skip = (unsigned int)__builtin_ctzll(bits), run;

			bits >>= skip;
			at += skip;
			run = ~bits ? (unsigned int)__builtin_ctzll(~bits) : 64;
			copy_run(page + at * 8, words, run);
			words += run * 8;
			at += run;
			bits = run < 64 ? bits >> run : 0;
		}
	}
}
