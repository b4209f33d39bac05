#include "store/delta.h"

#include "base/endian.h"

#include <string.h>

/* Words that are quicker copied one by one than by a call. */
#define SHORT_RUN 4u
#define HALF_WORDS (DELTA_WORDS / 2)

_Static_assert(sizeof(struct delta_head) == DELTA_HEAD_BYTES && DELTA_WORDS_MAX == 256 &&
		   HALF_WORDS == 256,
	       "bytes for words, runs and places");

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

/* The first word from `at` on, before `end`, whose bit is this one; else `end`. */
static unsigned int find_bit(const uint8_t *bitmap, unsigned int at, unsigned int end, bool bit)
{
	while (at < end) {
		uint64_t bits = get_le64(bitmap + at / 64 * 8);

		bits = (bit ? bits : ~bits) >> at % 64;
		if (bits)
			return at + (unsigned int)__builtin_ctzll(bits);
		at = (at / 64 + 1) * 64;
	}
	return end;
}

uint32_t delta_make_runs(const uint8_t *bitmap, struct delta_head *head, uint8_t *runs)
{
	uint32_t n = 0;

	head->words_less_1 = (uint8_t)(delta_bitmap_count(bitmap) - 1);
	for (unsigned int half = 0; half < 2; half++) {
		unsigned int start = half * HALF_WORDS, middle = start + HALF_WORDS, end = start;
		unsigned int at;

		head->runs[half] = 0;
		while ((at = find_bit(bitmap, end, middle, true)) < middle) {
			end = find_bit(bitmap, at, middle, false);
			runs[DELTA_RUN_BYTES * n] = (uint8_t)(at - start);
			runs[DELTA_RUN_BYTES * n + 1] = (uint8_t)(end - at - 1);
			head->runs[half]++;
			n++;
		}
	}
	return n;
}

/* Which of a page's words a run has; false if it has none, as it goes beyond its half. */
static inline bool run_within(const uint8_t *run, unsigned int *at, unsigned int *n)
{
	*at = run[0];
	*n = run[1] + 1u;
	return *at + *n <= HALF_WORDS;
}

void delta_apply_runs(uint8_t *page, struct delta_head head, const uint8_t *runs,
		      const uint8_t *words)
{
	unsigned int left = head.words_less_1 + 1u, at, n;

	for (unsigned int half = 0; half < 2; half++, page += HALF_WORDS * 8) {
		for (unsigned int i = head.runs[half]; i > 0; i--, runs += DELTA_RUN_BYTES) {
			if (!run_within(runs, &at, &n) || n > left)
				return;
			copy_run(page + at * 8, words, n);
			words += n * 8;
			left -= n;
		}
	}
}

void delta_bitmap_of_runs(struct delta_head head, const uint8_t *runs, uint8_t *bitmap)
{
	unsigned int at, n;

	memset(bitmap, 0, DELTA_BITMAP_BYTES);
	for (unsigned int half = 0; half < 2; half++, bitmap += HALF_WORDS / 8)
		for (unsigned int i = head.runs[half]; i > 0; i--, runs += DELTA_RUN_BYTES)
			for (bool fits = run_within(runs, &at, &n); fits && n > 0; n--, at++)
				bitmap[at / 8] |= (uint8_t)(1u << at % 8);
}
