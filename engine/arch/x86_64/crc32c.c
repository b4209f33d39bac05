#include "engine/arch/arch.h"

#include <nmmintrin.h>
#include <string.h>

__attribute__((target("sse4.2"))) static uint32_t by_words(uint32_t crc, const uint8_t *at,
							   size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; at++, len--)
		crc = _mm_crc32_u8(crc, *at);
	return crc;
}

bool arch_crc32c(uint32_t *crc, const void *data, size_t len)
{
	if (!__builtin_cpu_supports("sse4.2"))
		return false;
	*crc = by_words(*crc, data, len);
	return true;
}
