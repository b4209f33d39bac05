/* What a pattern finds, and when it is refused. */
#include "engine/look/matcher.h"

#include "base/result.h"
#include "engine/look/regex_length.h"
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
	/* Much of it is searched in another way than little. */
	{
		char much[2048];

		memset(much, 'a', sizeof(much));
		finds(m, much, sizeof(much), 0, 0, 0);
		memcpy(much + 1500, "ab.", 3);
		finds(m, much, sizeof(much), 0, 1500, 1503);
		finds(m, much, 1503, 1400, 1500, 1503);
		finds(m, much, 1502, 1400, 0, 0);
	}
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

/* Which expressions have an end, and how long they can be. */
static void longest(void **state)
{
	static const struct {
		const char *pattern;
		size_t longest;
	} of[] = {
		{ "abc", 3 },
		{ "a.c", 3 },
		{ "ab?c{2}[x-z]{1,4}", 8 },
		{ "(ab|cde|f)?g", 4 },
		{ "(?:a{3}|b){2}", 6 },
		{ "\\x41\\d\\.\\]", 4 },
		{ "[]a]b", 2 },
		{ "[^]]{3}?", 3 },
		{ "[\\]x]y", 2 },
		{ "a||b", 1 },
		{ "(a(b(c{5}){5}){5}){5}", 5 + 25 * (1 + 25) },
		{ "a{1024}", 1024 },
		{ "\xff\xfe", 2 },
		/* No end, or more than their bytes decides. */
		{ "a*", 0 },
		{ "a+b", 0 },
		{ "a{3,}", 0 },
		{ "a{1025}", 0 },
		{ "(a{100}){100}", 0 },
		{ "^a", 0 },
		{ "a$", 0 },
		{ "\\ba", 0 },
		{ "(?=a)b", 0 },
		{ "(?<=a)b", 0 },
		{ "(?i)a", 0 },
		{ "(?>a|ab)c", 0 },
		{ "a{2}+", 0 },
		{ "a?+b", 0 },
		{ "(a)\\1", 0 },
		{ "a\\Kb", 0 },
		{ "\\Qa*\\E", 0 },
		{ "\\R", 0 },
		{ "\\x{41}", 0 },
		{ "[[:alpha:]]", 0 },
		{ "[\\c]]x]", 0 },
		{ "(*UTF)a", 0 },
		{ "a{,3}", 0 },
		{ "{a", 0 },
		{ "(a", 0 },
		{ "a)b", 0 },
		{ "[a", 0 },
		{ "a\\", 0 },
		{ "", 0 },
	};
	char deep[512] = "";
	struct matcher *m;

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (regex_longest(of[i].pattern) != of[i].longest)
			fail_msg("\"%s\": %zu instead of %zu", of[i].pattern,
				 regex_longest(of[i].pattern), of[i].longest);
	for (unsigned int i = 0; i < 200; i++)
		strcat(deep, "(");
	assert_int_equal(regex_longest(deep), 0);
	m = made(MATCH_STRING, "abc", true);
	assert_int_equal(matcher_longest(m), 3);
	matcher_free(m);
	m = made(MATCH_HEX, "61 ?? 62", false);
	assert_int_equal(matcher_longest(m), 3);
	matcher_free(m);
}

/* One for another thread finds the same, and outlives nothing it needs. */
static void twins(void **state)
{
	struct matcher *m = made(MATCH_REGEX, "b{2}", false), *twin = matcher_twin(m);

	(void)state;
	assert_non_null(twin);
	finds(twin, "abba", 4, 0, 1, 3);
	assert_int_equal(matcher_longest(twin), 2);
	matcher_free(twin);
	finds(m, "abba", 4, 0, 1, 3);
	matcher_free(m);
	m = made(MATCH_STRING, "bb", false);
	twin = matcher_twin(m);
	assert_non_null(twin);
	finds(twin, "abba", 4, 0, 1, 3);
	matcher_free(twin);
	matcher_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),     cmocka_unit_test(hex_digits),
		cmocka_unit_test(expressions), cmocka_unit_test(refused),
		cmocka_unit_test(open_ends),   cmocka_unit_test(longest),
		cmocka_unit_test(twins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
