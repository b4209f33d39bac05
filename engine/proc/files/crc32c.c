/* CRC32C: by the processor where it can, else byte by byte. */
#include "engine/arch/arch.h"
#include "engine/proc/files/sum.h"

#define POLYNOMIAL 0x82f63b78u /* of Castagnoli, reflected */

static uint32_t table[256];

static void __attribute__((constructor)) fill_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[i] = crc;
	}
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	crc = ~crc;
	if (arch_crc32c(&crc, data, len))
		return ~crc;
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
	return ~crc;
}
