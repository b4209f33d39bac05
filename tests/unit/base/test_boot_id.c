/* The id of the machine's run, as it is spelled and as it is kept. */
#include "base/boot_id.h"
#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void parsed(void **state)
{
	static const uint8_t want[BOOT_ID_BYTES] = {
		0x3f, 0x0c, 0xde, 0xad, 0xbe, 0xef, 0x00, 0x01,
		0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x8f
	};
	uint8_t id[BOOT_ID_BYTES];

	(void)state;
	memset(id, 0xff, sizeof(id));
	assert_true(boot_id_parse("3f0cdead-beef-0001-1020-30405060708f\n", id));
	assert_memory_equal(id, want, sizeof(id));
	memset(id, 0xff, sizeof(id));
	assert_true(boot_id_parse("3f0cdeadbeef0001102030405060708f", id));
	assert_memory_equal(id, want, sizeof(id));
	assert_false(boot_id_parse("3f0cdead-beef-0001-1020-30405060708\n", id));
	assert_false(boot_id_parse("3F0CDEAD-beef-0001-1020-30405060708f\n", id));
	assert_false(boot_id_parse("", id));
}

static void read_twice(void **state)
{
	uint8_t one[BOOT_ID_BYTES], other[BOOT_ID_BYTES] = { 0 };

	(void)state;
	assert_int_equal(boot_id_read(one), R_OK);
	assert_memory_not_equal(one, other, sizeof(one));
	assert_int_equal(boot_id_read(other), R_OK);
	assert_memory_equal(one, other, sizeof(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsed),
		cmocka_unit_test(read_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
