/* What a search remembers: pages, borders and hits, and the places made of them. */
#include "engine/look/places.h"
#include "engine/look/scanned.h"

#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANY 5000u

static void pages_and_borders(void **state)
{
	struct scanned *s = scanned_new();

	(void)state;
	assert_non_null(s);
	assert_false(scanned_page(s, 7));
	assert_false(scanned_border(s, 7, 8));
	for (page_no n = 2; n < MANY; n += 3) {
		assert_int_equal(scanned_set_page(s, n), R_OK);
		if (n % 2)
			assert_int_equal(scanned_set_open(s, n), R_OK);
		assert_int_equal(scanned_set_border(s, n, n + 1), R_OK);
		assert_int_equal(scanned_set_border(s, n, MANY - n), R_OK);
	}
	for (page_no n = 2; n < MANY; n++) {
		bool set = n % 3 == 2;

		assert_int_equal(scanned_page(s, n), set);
		assert_int_equal(scanned_open(s, n), set && n % 2);
		assert_int_equal(scanned_border(s, n, n + 1), set);
		assert_int_equal(scanned_border(s, n, MANY - n), set);
		/* Neither the other way round, nor one that was never set. */
		assert_false(scanned_border(s, n + 1, n) && MANY - (n + 1) != n);
		assert_false(scanned_border(s, n, MANY + n));
	}
	scanned_free(s);
}

static int add(struct scanned *s, page_no a, page_no b, uint32_t offset, const char *text)
{
	struct scanned_hit hit = { .offset = offset, .len = (uint32_t)strlen(text) };

	hit.shown = hit.len;
	memcpy(hit.bytes, text, hit.len);
	return scanned_add(s, a, b, &hit);
}

static void hits(void **state)
{
	struct scanned *s = scanned_new();
	const struct scanned_hit *hit;

	(void)state;
	assert_non_null(s);
	assert_null(scanned_first(s, 5, PAGE_ABSENT));
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(add(s, 5 + i % 3, i % 3 == 1 ? 99 : PAGE_ABSENT, i, "x"), R_OK);
	assert_true(scanned_has_hits(s, 5) && scanned_has_hits(s, 6));
	assert_false(scanned_has_hits(s, 8) || scanned_has_hits(s, 99));
	assert_null(scanned_first(s, 6, PAGE_ABSENT));
	hit = scanned_first(s, 6, 99);
	for (uint32_t i = 1; i < MANY; i += 3) {
		assert_non_null(hit);
		assert_int_equal(hit->offset, i);
		assert_ptr_equal(scanned_by_id(s, scanned_id(s, hit)), hit);
		hit = scanned_next(s, hit);
	}
	assert_null(hit);
	scanned_free(s);
}

struct told {
	char text[1024];
};

static int tell(const struct look_match *m, void *arg)
{
	struct told *told = arg;
	size_t at = strlen(told->text);

	at += (size_t)snprintf(
	    told->text + at, sizeof(told->text) - at, "%s %s %u %llx %.*s:", m->lineage, m->object,
	    m->pid, (unsigned long long)m->address, (int)m->n_shown, (const char *)m->shown);
	for (size_t i = 0; i < m->n_generations; i++)
		at += (size_t)snprintf(told->text + at, sizeof(told->text) - at, " %llu",
				       (unsigned long long)m->generations[i]);
	snprintf(told->text + at, sizeof(told->text) - at, "\n");
	return R_OK;
}

static void put(struct places *p, const char *lineage, uint32_t pid, uint64_t address, uint64_t gen,
		size_t hit)
{
	struct look_match place = { .lineage = lineage,
				    .object = "pages-1",
				    .mapping = "",
				    .pid = pid,
				    .address = address };

	assert_int_equal(places_add(p, &place, gen, hit), R_OK);
}

/* One place is told once, with its generations; other bytes at the place are another. */
static void places(void **state)
{
	struct scanned *s = scanned_new();
	struct places *p = places_new();
	struct look_search_result result = { 0 };
	struct told told = { "" };
	size_t one, two;

	(void)state;
	assert_true(s && p);
	assert_int_equal(add(s, 5, PAGE_ABSENT, 0, "one"), R_OK);
	assert_int_equal(add(s, 6, PAGE_ABSENT, 0, "two"), R_OK);
	/* The same bytes, found in another page: the same place all the same. */
	assert_int_equal(add(s, 7, PAGE_ABSENT, 0, "one"), R_OK);
	one = scanned_id(s, scanned_first(s, 5, PAGE_ABSENT));
	two = scanned_id(s, scanned_first(s, 6, PAGE_ABSENT));
	put(p, "b", 1, 0x1000, 9, one);
	put(p, "a", 2, 0x1000, 3, one);
	put(p, "a", 1, 0x2000, 3, one);
	put(p, "a", 1, 0x1000, 3, one);
	put(p, "a", 1, 0x1000, 2, scanned_id(s, scanned_first(s, 7, PAGE_ABSENT)));
	put(p, "a", 1, 0x1000, 2, one);
	put(p, "a", 1, 0x1000, 4, two);
	assert_int_equal(places_tell(p, s, 100, tell, &told, &result), R_OK);
	assert_string_equal(told.text, "a pages-1 1 1000 one: 2 3\n"
				       "a pages-1 1 1000 two: 4\n"
				       "a pages-1 1 2000 one: 3\n"
				       "a pages-1 2 1000 one: 3\n"
				       "b pages-1 1 1000 one: 9\n");
	assert_int_equal(result.places, 5);
	assert_false(result.limited);
	told.text[0] = '\0';
	result = (struct look_search_result){ 0 };
	assert_int_equal(places_tell(p, s, 1, tell, &told, &result), R_OK);
	assert_string_equal(told.text, "a pages-1 1 1000 one: 2 3\n");
	assert_true(result.limited);
	places_free(p);
	scanned_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_and_borders),
		cmocka_unit_test(hits),
		cmocka_unit_test(places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
