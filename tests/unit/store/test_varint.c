/* Numbers of any length, before any end: the same as byte by byte. */
#include "store/varint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As FORMAT.md says it. */
static bool by_bytes(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (unsigned int shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t byte = *(*at)++;

		*value |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

static void there_and_back(void **state)
{
	uint8_t bytes[VARINT_BYTES_MAX + 8];

	(void)state;
	for (unsigned int bits = 0; bits < 64; bits++) {
		for (int more = -1; more <= 1; more++) {
			uint64_t value = (UINT64_C(1) << bits) + (uint64_t)(int64_t)more, read;
			const uint8_t *at = bytes, *end;

			memset(bytes, 0xff, sizeof(bytes));
			end = put_varint(bytes, value);
			/* Behind it all kinds of bytes, or nothing. */
			for (size_t room = 0; room <= 8; room++, at = bytes) {
				assert_true(get_varint(&at, end + room, &read));
				assert_true(read == value);
				assert_ptr_equal(at, end);
			}
			at = bytes;
			assert_false(get_varint(&at, end - 1, &read));
		}
	}
}

static void any_bytes(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (unsigned int round = 0; round < 200000; round++) {
		size_t len = round % 19;
		uint8_t *bytes = malloc(len ? len : 1);
		const uint8_t *at = bytes, *at_too = bytes;
		uint64_t value, value_too;
		bool whole;

		assert_non_null(bytes);
		for (size_t i = 0; i < len; i++) {
			x = x * 1103515245 + 12345;
			bytes[i] = (uint8_t)(x >> 16) | (x >> 24 & 3 ? 128 : 0);
		}
		whole = get_varint(&at, bytes + len, &value);
		assert_int_equal(whole, by_bytes(&at_too, bytes + len, &value_too));
		assert_true(!whole || (value == value_too && at == at_too));
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
