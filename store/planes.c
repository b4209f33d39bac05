#include "store/planes.h"

#include "base/endian.h"

#define SAMPLES 256u

bool planes_promise(const uint8_t *bytes, size_t len)
{
	uint16_t seen[PLANES][256] = { 0 };
	size_t words = len / PLANES, step = words / SAMPLES;

	for (size_t i = 0; i < SAMPLES; i++)
		for (size_t plane = 0; plane < PLANES; plane++)
			seen[plane][bytes[i * step * PLANES + plane]]++;
	for (size_t plane = 0; plane < PLANES; plane++) {
		uint32_t pairs = 0;

		/* 511 +- 23 of random bytes; 4096 if there are 16 different ones. */
		for (size_t value = 0; value < 256; value++)
			pairs += (uint32_t)seen[plane][value] * seen[plane][value];
		if (pairs > 1024)
			return true;
	}
	return false;
}

void planes_split(const uint8_t *from, size_t len, uint8_t *to)
{
	size_t words = len / PLANES;

	for (size_t i = 0; i < words; i++) {
		uint64_t word = get_le64(from + i * PLANES);

		for (size_t plane = 0; plane < PLANES; plane++)
			to[plane * words + i] = (uint8_t)(word >> 8 * plane);
	}
}

void planes_join(const uint8_t *from, size_t len, uint8_t *to)
{
	size_t words = len / PLANES;

	for (size_t i = 0; i < words; i++) {
		uint64_t word = 0;

		for (size_t plane = 0; plane < PLANES; plane++)
			word |= (uint64_t)from[plane * words + i] << 8 * plane;
		put_le64(to + i * PLANES, word);
	}
}
