/* Values of options, and numbers in words. */
#include "base/result.h"
#include "base/warn.h"
#include "cli/option_values.h"
#include "cli/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t complaints;

static void count_complaint(const char *line, void *arg)
{
	(void)arg;
	assert_true(strlen(line) > 0);
	complaints++;
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} good[] = { { "90", 90 },	 { "90s", 90 },	    { "2m", 120 }, { "1h", 3600 },
		     { "30d", 2592000 }, { "2w", 1209600 }, { "0", 0 } };
	static const char *const bad[] = { "",		"m",
					   "1y",	"1hh",
					   "-1",	" 1",
					   "1 h",	"1.5h",
					   "0x10",	"18446744073709551615",
					   "99999999w", "99999999999999999999" };
	uint64_t seconds;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(value_duration("wait", good[i].text, &seconds), R_OK);
		assert_int_equal(seconds, good[i].seconds);
	}
	complaints = 0;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(value_duration("wait", bad[i], &seconds), R_FAILED);
	assert_int_equal(complaints, i);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "1", 1 },	   { "4096", 4096 },
		     { "2K", 2048 },	   { "100M", 104857600 },
		     { "2G", 2147483648 }, { "1T", 1099511627776 } };
	static const char *const bad[] = { "",	   "0",	 "0M",	"M",  "1KB",
					   "1.5G", "-1", "1 G", "1m", "99999999999T" };
	static const char *const bad_percent[] = { "", "101", "-1", "10.5", "5%%", "all" };
	uint64_t number;
	size_t i, n = 0;

	(void)state;
	complaints = 0;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(value_bytes("max-rewrite", good[i].text, &number), R_OK);
		assert_int_equal(number, good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++, n++)
		assert_int_equal(value_bytes("max-rewrite", bad[i], &number), R_FAILED);
	for (i = 0; i < sizeof(bad_percent) / sizeof(bad_percent[0]); i++, n++)
		assert_int_equal(value_percent("max-unused", bad_percent[i], &number), R_FAILED);
	assert_int_equal(complaints, n);
	assert_int_equal(value_percent("max-unused", "0", &number), R_OK);
	assert_int_equal(number, 0);
	assert_int_equal(value_percent("max-unused", "100%", &number), R_OK);
	assert_int_equal(number, 100);
}

static void generations(void **state)
{
	static const char *const bad[] = { "",
					   ",",
					   "1,",
					   "-1",
					   "1-",
					   "2-1",
					   "0",
					   "0-3",
					   "1,,2",
					   "1-2-3",
					   "x",
					   "1 ",
					   "99999999999999999999" };
	static struct options o;
	size_t i;

	(void)state;
	assert_int_equal(value_generations("3,5-8", &o), R_OK);
	assert_int_equal(value_generations("18446744073709551615", &o), R_OK);
	assert_int_equal(o.generation_count, 3);
	assert_int_equal(o.generations[0].first, 3);
	assert_int_equal(o.generations[0].last, 3);
	assert_int_equal(o.generations[1].first, 5);
	assert_int_equal(o.generations[1].last, 8);
	assert_true(o.generations[2].last == UINT64_MAX);
	assert_int_equal(options_generation(&o), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&o, 0, sizeof(o));
		assert_int_equal(value_generations(bad[i], &o), R_FAILED);
	}
	memset(&o, 0, sizeof(o));
	for (i = 0; i < GENERATION_RANGES_MAX; i++)
		assert_int_equal(value_generations("7", &o), R_OK);
	assert_int_equal(value_generations("7", &o), R_FAILED);
}

static void names(void **state)
{
	static const char *const good[] = {
		"a", "redis", "redis-1.2_x", "0",
		"123456789012345678901234567890123456789012345678901234567890123"
	};
	static const char *const bad[] = {
		"",
		".",
		"..",
		".a",
		"-a",
		"_a",
		"a/b",
		"a b",
		"a\n",
		"\xc3\xa4",
		"1234567890123456789012345678901234567890123456789012345678901234"
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(lineage_name_valid(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(lineage_name_valid(bad[i]));
}

static void words(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} bytes[] = { { 0, "0 bytes" },	      { 999, "999 bytes" },	 { 1000, "1.0 KiB" },
		      { 4096, "4.0 KiB" },    { 102399, "100 KiB" },	 { 1048576, "1.0 MiB" },
		      { 1022977, "999 KiB" }, { UINT64_MAX, "16.0 EiB" } },
	  durations[] = { { 0, "0.0 ms" },	   { 9900000, "9.9 ms" },
			  { 35000000, "35 ms" },   { 999400000, "999 ms" },
			  { 2100000000, "2.1 s" }, { 200000000000, "3 min 20 s" } };
	char text[WORDS_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
		assert_string_equal(words_bytes(text, bytes[i].n), bytes[i].text);
	for (i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
		assert_string_equal(words_duration(text, durations[i].n), durations[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations), cmocka_unit_test(sizes), cmocka_unit_test(generations),
		cmocka_unit_test(names),     cmocka_unit_test(words),
	};

	warn_set_hook(count_complaint, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
