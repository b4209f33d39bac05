/* What a pattern finds, and when it is refused. */
#include "engine/look/matcher.h"

#include "base/result.h"
#include "base/warn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char reported[256];

static void keep(const char *line, void *arg)
{
	(void)arg;
	snprintf(reported, sizeof(reported), "%s", line);
}

static struct matcher *made(enum matcher_kind kind, const char *pattern, bool ignore_case)
{
	struct matcher *m;

	assert_int_equal(matcher_new(kind, pattern, ignore_case, &m), R_OK);
	return m;
}

/* The first match from `from` on has to be [start, end); with start == end there has to be none. */
static void finds(struct matcher *m, const char *data, size_t len, size_t from, size_t start,
		  size_t end)
{
	size_t s = 0, e = 0;
	bool found = matcher_find(m, (const uint8_t *)data, len, from, &s, &e);

	assert_int_equal(found, start != end);
	if (found) {
		assert_int_equal(s, start);
		assert_int_equal(e, end);
	}
}

static void strings(void **state)
{
	struct matcher *m = made(MATCH_STRING, "ab.", false);

	(void)state;
	finds(m, "xab.ab.", 7, 0, 1, 4);
	finds(m, "xab.ab.", 7, 1, 1, 4);
	finds(m, "xab.ab.", 7, 2, 4, 7);
	finds(m, "xab.ab.", 6, 2, 0, 0);
	finds(m, "abcAB.", 6, 0, 0, 0);
	finds(m, "ab.", 3, 3, 0, 0);
	finds(m, "ab.", 3, 99, 0, 0);
	assert_int_equal(matcher_reach(m), 3);
	matcher_free(m);
	m = made(MATCH_STRING, "aB.", true);
	finds(m, "abcAb.", 6, 0, 3, 6);
	matcher_free(m);
}

static void hex_digits(void **state)
{
	struct matcher *m = made(MATCH_HEX, "00 fF\n0a", false);

	(void)state;
	finds(m, "x\0\xff\n", 4, 0, 1, 4);
	assert_int_equal(matcher_reach(m), 3);
	matcher_free(m);
	m = made(MATCH_HEX, "61??63", false);
	finds(m, "ab a\nc", 6, 0, 3, 6);
	finds(m, "a\0c", 3, 0, 0, 3);
	matcher_free(m);
}

static void expressions(void **state)
{
	struct matcher *m = made(MATCH_REGEX, "[a-z]+[0-9]{2}", false);

	(void)state;
	finds(m, "..abc12..", 9, 0, 2, 7);
	finds(m, "..abc12..", 9, 3, 3, 7);
	finds(m, "..ABC12..", 9, 0, 0, 0);
	/* Bytes that are no UTF-8 are bytes. */
	finds(m,
	      "\xff\xfe"
	      "a34",
	      5, 0, 2, 5);
	matcher_free(m);
	/* Never an empty match. */
	m = made(MATCH_REGEX, "x*", false);
	finds(m, "aax", 3, 0, 2, 3);
	finds(m, "aaa", 3, 0, 0, 0);
	matcher_free(m);
}

static void refused(void **state)
{
	static const struct {
		enum matcher_kind kind;
		const char *pattern, *says;
	} bad[] = {
		{ MATCH_STRING, "", "1 to 1024 bytes" }, { MATCH_HEX, "", "1 to 1024 bytes" },
		{ MATCH_HEX, "6", "hexadecimal" },	 { MATCH_HEX, "6 1", "hexadecimal" },
		{ MATCH_HEX, "6g", "hexadecimal" },	 { MATCH_HEX, "?6", "hexadecimal" },
		{ MATCH_REGEX, "a(b", "character 4" },	 { MATCH_REGEX, "a\\C", "no sense" },
	};
	char long_one[MATCH_BORDER_BYTES + 2];
	struct matcher *m;

	(void)state;
	warn_set_hook(keep, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reported[0] = '\0';
		assert_int_equal(matcher_new(bad[i].kind, bad[i].pattern, false, &m), R_FAILED);
		assert_null(m);
		assert_non_null(strstr(reported, bad[i].says));
	}
	memset(long_one, 'a', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	assert_int_equal(matcher_new(MATCH_STRING, long_one, false, &m), R_FAILED);
	warn_set_hook(NULL, NULL);
	long_one[MATCH_BORDER_BYTES] = '\0';
	matcher_free(made(MATCH_STRING, long_one, false));
}

static bool is_open(struct matcher *m, const char *tail)
{
	return matcher_open(m, (const uint8_t *)tail, strlen(tail));
}

/* A match may go on behind the end exactly where a beginning of one stands there. */
static void open_ends(void **state)
{
	struct matcher *m = made(MATCH_STRING, "abab", false);

	(void)state;
	assert_true(is_open(m, "xxa"));
	assert_true(is_open(m, "xaba"));
	assert_false(is_open(m, "xxb"));
	assert_false(is_open(m, "abax"));
	assert_false(is_open(m, ""));
	matcher_free(m);
	m = made(MATCH_REGEX, "k=[0-9]+;", false);
	assert_true(is_open(m, "..k=12"));
	assert_true(is_open(m, "k=1;k"));
	assert_false(is_open(m, "k=1;"));
	assert_false(is_open(m, "k=1a"));
	matcher_free(m);
	/* One that could be longer is open although it matches already. */
	m = made(MATCH_REGEX, "[0-9]+", false);
	assert_true(is_open(m, "a12"));
	assert_false(is_open(m, "12a"));
	matcher_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),     cmocka_unit_test(hex_digits),
		cmocka_unit_test(expressions), cmocka_unit_test(refused),
		cmocka_unit_test(open_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
