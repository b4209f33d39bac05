/* Unsigned numbers in as few bytes as they need: seven bits each, the low ones first. */
#ifndef SNAP_STORE_VARINT_H
#define SNAP_STORE_VARINT_H

#include <stdbool.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10

/* Writes `value` at `to`; returns where the next one goes. */
static inline uint8_t *put_varint(uint8_t *to, uint64_t value)
{
	for (; value > 127; value >>= 7)
		*to++ = (uint8_t)(value | 128);
	*to++ = (uint8_t)value;
	return to;
}

/* Reads one from `*at` and moves it; false if there is none whole before `end`. */
static inline bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (unsigned int shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t byte = *(*at)++;

		*value |= (uint64_t)(byte & 127) << shift;
		if (!(byte & 128))
			return true;
	}
	return false;
}

/* Small distances either way become small numbers. */
static inline uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#endif
