/*
 * A search of many generations together, which looks at what changed only, finds the same as one
 * that goes over every page of each generation from its first byte to its last: random contents,
 * random changes, random patterns.
 */
#include "../store/scratch.h"
#include "ended_tree.h"

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/search.h"
#include "store/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 40u
#define FIRST 500u /* index of the first page: the border of two leaves lies within */
#define GENS 20u
#define BYTES ((size_t)PAGES * PAGE_BYTES)
#define FOUND_MAX 200000u
#define MARK "this page is to be damaged"

/* A match: generation, offset from the first page, length. */
struct found {
	uint64_t gen, at, len;
};

struct list {
	struct found *list;
	size_t n;
};

static uint8_t *contents[GENS + 1]; /* by number */
static bool absent[GENS + 1][PAGES];
static uint64_t state_of_random = 88172645463325252ull;
static bool damaging;
static unsigned int damage_told;

static uint64_t random_below(uint64_t n)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return (state_of_random * 0x2545f4914f6cdd1dull >> 16) % n;
}

/* In the place of that of store/: a marked page does not have its hash when it is read. */
void __real_page_hash(const uint8_t *secret, const void *page, uint8_t *hash);
void __wrap_page_hash(const uint8_t *secret, const void *page, uint8_t *hash);
void __wrap_page_hash(const uint8_t *secret, const void *page, uint8_t *hash)
{
	__real_page_hash(secret, page, hash);
	if (damaging && memcmp(page, MARK, strlen(MARK)) == 0)
		hash[0] ^= 1;
}

static void fill(uint8_t *bytes, size_t n)
{
	static const char few[] = "abcA";

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)few[random_below(4)];
}

/* What programs do with their memory: a few words here and there, whole pages, copies, nothing. */
static void change_page(uint8_t *page, uint8_t *all, bool *is_absent)
{
	*is_absent = false;
	switch (random_below(14)) {
	case 0:
		fill(page, PAGE_BYTES);
		break;
	case 1:
		memcpy(page, all + random_below(PAGES) * PAGE_BYTES, PAGE_BYTES);
		break;
	case 2:
		memset(page, 0, PAGE_BYTES);
		break;
	case 3:
		memset(page, 0, PAGE_BYTES);
		*is_absent = true;
		break;
	case 4: /* its end, which a match may go on behind */
		fill(page + PAGE_BYTES - 5, 5);
		break;
	case 5:
		fill(page, 3);
		break;
	case 6: /* one byte at the edge of a word: a match may have nothing else of that word */
	case 7:
		for (unsigned int i = 0; i < 60; i++)
			fill(page + random_below(PAGE_BYTES / 8) * 8 + random_below(2) * 7, 1);
		break;
	default:
		for (uint64_t i = random_below(6); i > 0; i--) {
			size_t n = 1 + random_below(30);

			fill(page + random_below(PAGE_BYTES - n), n);
		}
	}
}

static void take(struct store *store, uint64_t number)
{
	struct generation gen = { .root_pid = 1, .lineage = "a" };
	uint8_t *bytes = contents[number];
	struct object_writer *writer;
	struct ingest *ingest;

	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "contents", &writer), R_OK);
	for (size_t i = 0; i < PAGES; i++)
		if (!absent[number][i])
			assert_int_equal(object_pages(writer, FIRST + i, bytes + i * PAGE_BYTES, 1),
					 R_OK);
	assert_int_equal(object_end(writer, (FIRST + PAGES) * PAGE_BYTES), R_OK);
	ended_tree_put(ingest);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	assert_int_equal(gen.number, number);
}

static void make_generations(struct store *store)
{
	for (uint64_t number = 1; number <= GENS; number++) {
		contents[number] = malloc(BYTES);
		assert_non_null(contents[number]);
		if (number == 1) {
			fill(contents[1], BYTES);
			memset(absent[1], 0, sizeof(absent[1]));
		} else {
			memcpy(contents[number], contents[number - 1], BYTES);
			memcpy(absent[number], absent[number - 1], sizeof(absent[number]));
			for (uint64_t i = 3 + random_below(20); i > 0; i--) {
				size_t page = random_below(PAGES);

				change_page(contents[number] + page * PAGE_BYTES, contents[number],
					    &absent[number][page]);
			}
		}
		take(store, number);
	}
}

static void add(struct list *list, uint64_t gen, uint64_t at, uint64_t len)
{
	assert_true(list->n < FOUND_MAX);
	list->list[list->n++] = (struct found){ gen, at, len };
}

static bool readable(const uint8_t *bytes, bool is_absent)
{
	return !is_absent && !(damaging && memcmp(bytes, MARK, strlen(MARK)) == 0);
}

/* Matches across the border of two pages that are there: where the last one ends, 0 if there is
 * none. */
static uint64_t expect_border(struct matcher *m, uint64_t gen, uint64_t border, uint64_t *first,
			      struct list *list)
{
	size_t half = matcher_reach(m) - 1, from = 0, start, end;
	const uint8_t *bytes = contents[gen] + border - half;
	uint64_t behind = 0;

	*first = UINT64_MAX;
	while (from < half && matcher_find(m, bytes, 2 * half, from, &start, &end) &&
	       start < half) {
		if (end > half) {
			if (*first == UINT64_MAX)
				*first = border - half + start;
			add(list, gen, border - half + start, end - start);
			behind = border - half + end;
		}
		from = end;
	}
	return behind;
}

/* All matches of a generation, page by page. */
static void expect(struct matcher *m, uint64_t gen, struct list *list)
{
	uint64_t behind = 0, across;

	for (size_t i = 0; i < PAGES; i++) {
		const uint8_t *page = contents[gen] + i * PAGE_BYTES;
		uint64_t before = behind;
		size_t from = 0, start, end;

		behind = 0;
		across = UINT64_MAX;
		if (!readable(page, absent[gen][i]))
			continue;
		if (i + 1 < PAGES && readable(page + PAGE_BYTES, absent[gen][i + 1]))
			behind = expect_border(m, gen, (i + 1) * PAGE_BYTES, &across, list);
		while (matcher_find(m, page, PAGE_BYTES, from, &start, &end)) {
			uint64_t at = i * PAGE_BYTES + start;

			if (at >= before && at + end - start <= across)
				add(list, gen, at, end - start);
			from = end;
		}
	}
}

static int note_match(const struct look_match *match, void *arg)
{
	/* The images are there, too. */
	if (strcmp(match->object, "contents") != 0)
		return R_OK;
	for (size_t i = 0; i < match->n_generations; i++)
		add(arg, match->generations[i], match->address - FIRST * PAGE_BYTES, match->bytes);
	return R_OK;
}

static int by_place(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->gen != y->gen)
		return x->gen < y->gen ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void check(struct store *store, enum matcher_kind kind, const char *pattern,
		  bool ignore_case)
{
	struct look_search_options what = { .limit = UINT64_MAX };
	struct list expected = { 0 }, found = { 0 };
	struct look_search_result result;
	uint64_t numbers[GENS];
	struct store_view *view;
	int rc;

	expected.list = calloc(FOUND_MAX, sizeof(*expected.list));
	found.list = calloc(FOUND_MAX, sizeof(*found.list));
	assert_true(expected.list && found.list);
	assert_int_equal(matcher_new(kind, pattern, ignore_case, &what.matcher), R_OK);
	/* All of them, or only later ones: then pages differ from some that nobody looks at. */
	for (uint64_t number = random_below(3) ? 1 : 1 + random_below(GENS); number <= GENS;
	     number++)
		numbers[what.n_generations++] = number;
	what.generations = numbers;
	assert_int_equal(store_view_open(store, &view), R_OK);
	rc = look_search(view, &what, note_match, &found, &result);
	store_view_close(view);
	assert_int_equal(rc, result.pages_damaged ? R_DAMAGED : R_OK);
	for (size_t i = 0; i < what.n_generations; i++)
		expect(what.matcher, numbers[i], &expected);
	if (expected.n)
		qsort(expected.list, expected.n, sizeof(*expected.list), by_place);
	if (found.n)
		qsort(found.list, found.n, sizeof(*found.list), by_place);
	for (size_t i = 0; i < expected.n || i < found.n; i++)
		if (i >= expected.n || i >= found.n ||
		    memcmp(&expected.list[i], &found.list[i], sizeof(*found.list)) != 0)
			fail_msg("\"%s\": %zu expected, %zu found; number %zu: generation %llu at "
				 "0x%llx, found generation %llu at 0x%llx",
				 pattern, expected.n, found.n, i,
				 (unsigned long long)expected.list[i].gen,
				 (unsigned long long)expected.list[i].at,
				 (unsigned long long)found.list[i].gen,
				 (unsigned long long)found.list[i].at);
	matcher_free(what.matcher);
	free(expected.list);
	free(found.list);
}

/* Text of the few letters that contents are made of: found here and there, and some that overlap
 * themselves. */
static void random_text(char *text, size_t len)
{
	fill((uint8_t *)text, len);
	for (size_t i = random_below(3); i > 0 && i < len; i--)
		text[len - i] = text[0];
	text[len] = '\0';
}

static void check_random(struct store *store, unsigned int kind)
{
	static const char *const joins[] = { "%.*s(?:a|bA?)%s", "%.*s[bc]{2,5}%s", "%.*s\\x61?.%s",
					     "(%.*s|%s)c{2}",	"%.*s.*%s",	   "\\b%.*s%s",
					     "%.*s(?=%s)",	"%.*s+?%s",	   "(?>%.*s|a)%s" };
	char text[16], expression[64], hex[64] = "";
	size_t len = 3 + random_below(9);

	random_text(text, len);
	if (kind == 0) {
		check(store, MATCH_STRING, text, false);
	} else if (kind == 1) {
		check(store, MATCH_STRING, text, true);
	} else if (kind == 2) {
		for (size_t i = 0; i < len; i++)
			sprintf(hex + strlen(hex), i % 4 == 2 ? "??" : "%02x", text[i]);
		check(store, MATCH_HEX, hex, false);
	} else {
		snprintf(expression, sizeof(expression),
			 joins[random_below(sizeof(joins) / sizeof(joins[0]))], (int)(len / 2),
			 text, text + len / 2);
		check(store, MATCH_REGEX, expression, false);
	}
}

static void free_contents(void)
{
	for (size_t i = 0; i <= GENS; i++) {
		free(contents[i]);
		contents[i] = NULL;
	}
}

static void same(void **state)
{
	struct store *store = scratch_open(*state);

	make_generations(store);
	for (unsigned int i = 0; i < 120; i++)
		check_random(store, i % 4);
	/* Longer than most changes, and the zeroes of pages that are zero. */
	check(store, MATCH_HEX, "0000000000000000", false);
	check(store, MATCH_REGEX, "[abcA]{900,1000}\\x00", false);
	check(store, MATCH_STRING, "this is nowhere", false);
	store_close(store);
	free_contents();
}

/* The next generation, so far like the one before; the first one is random. */
static void begin_generation(uint64_t number)
{
	contents[number] = malloc(BYTES);
	assert_non_null(contents[number]);
	if (number == 1)
		fill(contents[1], BYTES);
	else
		memcpy(contents[number], contents[number - 1], BYTES);
	memset(absent[number], 0, sizeof(absent[number]));
}

/* Matches that come into being, and go, by one byte: their first, at the end of a word, or their
 * last, at the beginning of one; within a page and across its end. */
static void one_byte(void **state)
{
	static const char text[] = "needle-xyz";
	const size_t last = strlen(text) - 1;
	struct store *store = scratch_open(*state);

	for (uint64_t number = 1; number <= GENS; number++) {
		begin_generation(number);
		for (size_t i = 0; i + 1 < PAGES; i += 2) {
			size_t at = i * PAGE_BYTES + 800 + i / 2 * 8, changes;

			if (i >= PAGES / 2)
				at = (i + 1) * PAGE_BYTES - 1 - i % last;
			at = i % 4 ? at / 8 * 8 - last : at / 8 * 8 + 7;
			changes = i % 4 ? at + last : at;
			if (number == 1)
				memcpy(contents[1] + at, text, last + 1);
			contents[number][changes] =
			    number % 3 == i % 3 ? (uint8_t)text[i % 4 ? last : 0] : '.';
		}
		take(store, number);
	}
	check(store, MATCH_STRING, text, false);
	check(store, MATCH_STRING, "NEEDLE-xyz", true);
	check(store, MATCH_HEX, "6e ?? 65 64 6c 65 2d 78 79 7a", false);
	check(store, MATCH_REGEX, "needle-x[yz]{2}", false);
	check(store, MATCH_REGEX, "needle-x[yz]+", false);
	store_close(store);
	free_contents();
}

static int keep_place(const struct look_match *match, void *arg)
{
	struct found *places = arg;

	for (size_t i = 0; i < 10; i++) {
		if (places[i].len)
			continue;
		places[i] = (struct found){ match->generations[0], match->address, match->bytes };
		break;
	}
	return R_OK;
}

/* What is everywhere ends the search, in the same way each time, whichever thread was first. */
static void everywhere(void **state)
{
	struct store *store = scratch_open(*state);
	uint64_t numbers[GENS];
	struct found first[10], places[10];

	make_generations(store);
	for (uint64_t i = 0; i < GENS; i++)
		numbers[i] = i + 1;
	for (unsigned int i = 0; i < 4; i++) {
		struct look_search_options what = { .generations = numbers,
						    .n_generations = i % 2 ? GENS : 1,
						    .limit = 10 };
		struct look_search_result result;
		struct store_view *view;

		memset(places, 0, sizeof(places));
		assert_int_equal(matcher_new(MATCH_REGEX, ".", false, &what.matcher), R_OK);
		assert_int_equal(store_view_open(store, &view), R_OK);
		assert_int_equal(look_search(view, &what, keep_place, places, &result), R_OK);
		store_view_close(view);
		matcher_free(what.matcher);
		assert_true(result.ended && result.limited);
		assert_int_equal(result.places, 10);
		if (!i)
			memcpy(first, places, sizeof(first));
		assert_memory_equal(places, first, sizeof(first));
	}
	store_close(store);
	free_contents();
}

static void count(const char *line, void *arg)
{
	(void)arg;
	damage_told += strstr(line, "was not searched") != NULL;
}

/* What cannot be read is told of once, and everything else is found. */
static void around_damage(void **state)
{
	struct store *store = scratch_open(*state);

	for (uint64_t number = 1; number <= GENS; number++) {
		begin_generation(number);
		/* From the fifth on for four: what is made of the page later is whole again. */
		if (number == 5)
			memcpy(contents[5] + 11 * PAGE_BYTES, MARK, strlen(MARK));
		if (number == 9)
			fill(contents[9] + 11 * PAGE_BYTES, strlen(MARK));
		fill(contents[number] + 11 * PAGE_BYTES + 2000, 20);
		fill(contents[number] + random_below(BYTES - 20), 20);
		take(store, number);
	}
	damaging = true;
	warn_set_hook(count, NULL);
	for (unsigned int i = 0; i < 20; i++)
		check_random(store, i % 4);
	warn_set_hook(NULL, NULL);
	damaging = false;
	assert_true(damage_told >= 1 && damage_told <= 20 * 4);
	store_close(store);
	free_contents();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(one_byte, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(everywhere, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(around_damage, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
