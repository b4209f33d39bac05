#include "store/delta.h"

#include "base/endian.h"

uint32_t delta_count(const void *page, const void *base)
{
	const uint8_t *a = page, *b = base;
	uint32_t n = 0;

	for (size_t i = 0; i < PAGE_BYTES; i += 8)
		n += get_le64(a + i) != get_le64(b + i);
	return n;
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

uint32_t delta_bitmap_count(const uint8_t *bitmap)
{
	uint32_t n = 0;

	for (size_t i = 0; i < DELTA_BITMAP_BYTES; i += 8)
		n += (uint32_t)__builtin_popcountll(get_le64(bitmap + i));
	return n;
}

void delta_apply(uint8_t *page, const uint8_t *bitmap, const uint8_t *words)
{
	for (size_t i = 0; i < DELTA_BITMAP_BYTES; i += 8) {
		uint64_t bits = get_le64(bitmap + i);

		for (; bits; bits &= bits - 1, words += 8)
			memcpy(page + (i * 8 + (size_t)__builtin_ctzll(bits)) * 8, words, 8);
	}
}
