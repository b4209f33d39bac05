/* Blocks made easier say the same as before, without the matches that are too short. */
#include "store/lz4_block.h"

#include <lz4.h>
#include <lz4hc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAW_MAX 200000

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (uint32_t)(((uint64_t)(seed >> 8) * n) >> 24);
}

/* Bytes in which now and then something comes again: short or very long. */
static void fill(uint8_t *raw, size_t len, uint32_t kinds, uint32_t longest)
{
	for (size_t at = 0; at < len;) {
		size_t n = 1 + below(longest), back = 1 + below(60000);

		for (; n > 0 && at < len; n--, at++)
			raw[at] = at >= back && kinds % 2 ? raw[at - back]
							  : (uint8_t)below(kinds ? kinds : 256);
		kinds ^= 1;
	}
}

/* Unpacks what is in memory of just its length. */
static void same(const uint8_t *block, size_t len, const uint8_t *raw, size_t raw_len)
{
	uint8_t *exact = malloc(len), *unpacked = malloc(raw_len);

	assert_non_null(exact);
	assert_non_null(unpacked);
	memcpy(exact, block, len);
	assert_int_equal(
	    LZ4_decompress_safe((char *)exact, (char *)unpacked, (int)len, (int)raw_len), raw_len);
	assert_memory_equal(unpacked, raw, raw_len);
	free(exact);
	free(unpacked);
}

static void try_one(const uint8_t *raw, size_t raw_len, int level)
{
	size_t room = (size_t)LZ4_compressBound((int)raw_len), last = 0;
	uint8_t *block = malloc(room), *eased = malloc(2 * room);
	size_t len = (size_t)LZ4_compress_HC((const char *)raw, (char *)block, (int)raw_len,
					     (int)room, level);

	assert_non_null(block);
	assert_non_null(eased);
	assert_true(len > 0);
	/* LZ4 knows none that are shorter than four. */
	assert_int_equal(lz4_block_ease(block, len, raw, 4, eased, 2 * room), len);
	assert_memory_equal(block, eased, len);
	for (unsigned int least = 5; least < 40; least += 1 + least / 8) {
		size_t got = lz4_block_ease(block, len, raw, least, eased, 2 * room);
		uint8_t *tight = malloc(got);

		assert_true(got >= len && got >= last);
		last = got;
		same(eased, got, raw, raw_len);
		assert_int_equal(lz4_block_ease(block, len, raw, least, tight, got), got);
		assert_int_equal(lz4_block_ease(block, len, raw, least, tight, got - 1), 0);
		free(tight);
	}
	free(block);
	free(eased);
}

static void ease(void **state)
{
	static const size_t lengths[] = { 1, 12, 13, 20, 100, 269, 270, 271, 3000, RAW_MAX };
	static const uint32_t longest[] = { 4, 9, 40, 300, 5000 };
	uint8_t *raw = malloc(RAW_MAX);

	(void)state;
	assert_non_null(raw);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (size_t k = 0; k < sizeof(longest) / sizeof(longest[0]); k++) {
			for (uint32_t kinds = 0; kinds < 40; kinds += 13) {
				seed = (uint32_t)(i * 100 + k * 10) + kinds;
				fill(raw, lengths[i], kinds, longest[k]);
				try_one(raw, lengths[i], k % 2 ? 3 : 9);
			}
		}
	}
	free(raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
