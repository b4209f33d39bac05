/* Unsigned numbers in as few bytes as they need: seven bits each, the low ones first. */
#ifndef SNAP_STORE_VARINT_H
#define SNAP_STORE_VARINT_H

#include "base/endian.h"

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

/* The groups of eight bytes put together, those behind the first whose top bit is not set left out.
 */
static inline uint64_t join_groups(uint64_t bytes, uint64_t stop)
{
	uint64_t x = bytes & (stop ^ (stop - 1)) & UINT64_C(0x7f7f7f7f7f7f7f7f);

	x = (x & UINT64_C(0x007f007f007f007f)) | (x & UINT64_C(0x7f007f007f007f00)) >> 1;
	x = (x & UINT64_C(0x00003fff00003fff)) | (x & UINT64_C(0x3fff00003fff0000)) >> 2;
	return (x & UINT64_C(0x0fffffff)) | (x & UINT64_C(0x0fffffff00000000)) >> 4;
}

/* Reads one from `*at` and moves it; false if there is none whole before `end`. */
static inline bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	/* How long the next one is cannot be foretold, so it is had without a branch if it may. */
	if (end - *at >= 8) {
		uint64_t bytes = get_le64(*at), stop = ~bytes & UINT64_C(0x8080808080808080);

		if (stop) {
			*value = join_groups(bytes, stop);
			*at += __builtin_ctzll(stop) / 8 + 1;
			return true;
		}
	}
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
