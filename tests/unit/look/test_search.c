/* Searching and comparing generations: what is found, and that nothing is read that need not be. */
#include "../store/scratch.h"
#include "ended_tree.h"

#include "base/result.h"
#include "engine/look/changes.h"
#include "engine/look/search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/tree.h"

#define PAGES 3000
#define BASE 700 /* index of the first: not at a multiple of 512 */

/* What is read, by the linker's --wrap. */
static size_t nodes_read, pages_read;

int __real_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES]);
int __wrap_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES]);
int __real_store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
			    page_no *bad);
int __wrap_store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
			    page_no *bad);

int __real_store_visit_pages(struct store_view *view, const page_no *numbers, size_t n,
			     void (*fn)(const struct store_visited *visited, void *arg), void *arg);
int __wrap_store_visit_pages(struct store_view *view, const page_no *numbers, size_t n,
			     void (*fn)(const struct store_visited *visited, void *arg), void *arg);

int __wrap_store_visit_pages(struct store_view *view, const page_no *numbers, size_t n,
			     void (*fn)(const struct store_visited *visited, void *arg), void *arg)
{
	for (size_t i = 0; i < n; i++)
		pages_read += numbers[i] > PAGE_ZERO;
	return __real_store_visit_pages(view, numbers, n, fn, arg);
}

int __wrap_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES])
{
	nodes_read++;
	return __real_tree_node(view, number, entries);
}

int __wrap_store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
			    page_no *bad)
{
	for (size_t i = 0; i < n; i++)
		pages_read += numbers[i] > PAGE_ZERO;
	return __real_store_read_pages(view, numbers, n, buf, bad);
}

/* Text to be put at byte `at` of the object, from generation `from` to `to`. */
struct text {
	uint64_t at;
	uint64_t from, to;
	const char *text;
};

static const struct text texts[] = {
	{ 5 * PAGE_BYTES + 100, 1, 9, "needle-within" },
	/* across two pages, two leaves of the tree, and within the last bytes of all */
	{ 40 * PAGE_BYTES - 6, 1, 9, "needle-border" },
	{ (1024 - BASE) * PAGE_BYTES - 3, 1, 9, "needle-leaves" },
	{ PAGES * PAGE_BYTES - 10, 2, 3, "needle-end" },
	/* the same bytes elsewhere later */
	{ 2000 * PAGE_BYTES, 1, 2, "needle-moves" },
	{ 2000 * PAGE_BYTES + 64, 3, 4, "needle-moves" },
};

static void take(struct store *store, uint64_t number)
{
	struct generation gen = { .root_pid = 1, .lineage = "a" };
	uint8_t *data = malloc(PAGES * PAGE_BYTES);
	struct object_writer *writer;
	struct ingest *ingest;

	assert_non_null(data);
	for (uint64_t i = 0; i < PAGES; i++) /* every generation changes one page in 300 */
		scratch_page(i % 300 == number ? number : 0, i, data + i * PAGE_BYTES);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].from <= number && number <= texts[i].to)
			memcpy(data + texts[i].at, texts[i].text, strlen(texts[i].text));
	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "contents", &writer), R_OK);
	assert_int_equal(object_pages(writer, BASE, data, PAGES), R_OK);
	assert_int_equal(object_end(writer, (BASE + PAGES) * PAGE_BYTES), R_OK);
	ended_tree_put(ingest);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	assert_int_equal(gen.number, number);
	free(data);
}

struct told {
	char text[2048];
};

static int tell(const struct look_match *m, void *arg)
{
	struct told *told = arg;
	size_t at = strlen(told->text);

	snprintf(told->text + at, sizeof(told->text) - at, "%llx %.*s %llu-%llu\n",
		 (unsigned long long)(m->address - BASE * PAGE_BYTES), (int)m->n_shown,
		 (const char *)m->shown, (unsigned long long)m->generations[0],
		 (unsigned long long)m->generations[m->n_generations - 1]);
	return R_OK;
}

static struct look_search_result search(struct store *store, enum matcher_kind kind,
					const char *pattern, size_t n, struct told *told)
{
	static const uint64_t numbers[] = { 1, 2, 3, 4 };
	struct look_search_options what = { .generations = numbers,
					    .n_generations = n,
					    .limit = 99 };
	struct look_search_result found;
	struct store_view *view;

	told->text[0] = '\0';
	assert_int_equal(matcher_new(kind, pattern, false, &what.matcher), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(look_search(view, &what, tell, told, &found), R_OK);
	store_view_close(view);
	matcher_free(what.matcher);
	return found;
}

static void found_everywhere(void **state)
{
	struct store *store = scratch_open(*state);
	struct look_search_result one, all;
	struct told told;
	char expected[1024];

	for (uint64_t number = 1; number <= 4; number++)
		take(store, number);
	all = search(store, MATCH_STRING, "needle", 4, &told);
	snprintf(expected, sizeof(expected),
		 "%llx needle 1-4\n%llx needle 1-4\n%llx needle 1-4\n%llx needle 1-2\n"
		 "%llx needle 3-4\n%llx needle 2-3\n",
		 5 * 4096 + 100ull, 40 * 4096 - 6ull, (1024 - BASE) * 4096 - 3ull, 2000 * 4096ull,
		 2000 * 4096ull + 64, PAGES * 4096 - 10ull);
	assert_string_equal(told.text, expected);
	search(store, MATCH_REGEX, "needle-[bl][a-z]+", 4, &told);
	assert_non_null(strstr(told.text, "needle-border"));
	assert_non_null(strstr(told.text, "needle-leaves"));
	/* Each different page once: the first generation, and what the others changed. */
	one = search(store, MATCH_STRING, "nothing of the kind", 1, &told);
	pages_read = 0;
	all = search(store, MATCH_STRING, "nothing of the kind", 4, &told);
	assert_true(all.pages_read >= one.pages_read + 3 * 10);
	assert_true(all.pages_read <= one.pages_read + 3 * 30);
	assert_true(pages_read < all.pages_read + 100);
	assert_int_equal(all.pages_read + all.pages_known, 4 * (one.pages_read + one.pages_known));
	store_close(store);
}

struct sum {
	uint64_t pages, bytes, runs;
};

static int add_change(const struct look_change *change, void *arg)
{
	struct sum *sum = arg;

	assert_int_equal(change->kind, CHANGE_WRITTEN);
	sum->pages += change->pages;
	sum->bytes += change->bytes;
	sum->runs++;
	return R_OK;
}

/* A diff reads the nodes above what differs, and of pages both versions of those that do. */
static void only_what_differs(void **state)
{
	struct store *store = scratch_open(*state);
	struct object objects[2];
	struct store_view *view;
	struct sum sum = { 0 };
	struct look_changes_to to = { .fn = add_change, .arg = &sum };

	take(store, 1);
	take(store, 2);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 1, "contents", &objects[0]), R_OK);
	assert_int_equal(store_object(view, 2, "contents", &objects[1]), R_OK);
	nodes_read = pages_read = 0;
	assert_int_equal(look_changes(view, &objects[0], &objects[1], &to), R_OK);
	/* Ten pages lose what the first generation had in them, ten get what the second has, and
	 * the last got a text. */
	assert_int_equal(sum.pages, 21);
	assert_true(sum.bytes > 0 && sum.runs <= 21);
	assert_int_equal(pages_read, 2 * 21);
	/* Two trees of one root and the seven leaves that indexes 700 to 3699 lie in. */
	assert_true(nodes_read <= 2 * 8);
	nodes_read = pages_read = 0;
	assert_int_equal(look_changes(view, &objects[0], &objects[0], &to), R_OK);
	assert_int_equal(nodes_read + pages_read, 0);
	store_view_close(view);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(found_everywhere, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(only_what_differs, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
