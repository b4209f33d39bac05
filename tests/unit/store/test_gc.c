/* gc gives back what nothing refers to, and nothing that anyone may still use. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 1000

static uint64_t bytes_of_packs(struct store *store)
{
	struct store_stats stats;
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_stats(view, &stats), R_OK);
	store_view_close(view);
	return stats.bytes_packs;
}

static void check(struct store *store, uint64_t generation, uint64_t seed)
{
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	scratch_check(view, generation, seed, PAGES);
	store_view_close(view);
}

static void take(struct store *store, const char *lineage, uint64_t seed)
{
	struct generation gen;

	assert_int_equal(scratch_take(store, lineage, seed, PAGES, &gen), R_OK);
}

static void frees_what_is_forgotten(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct gc_options options = { .max_unused_percent = 100 };
	const uint64_t two = 2;
	struct gc_result result;
	struct store_view *view;
	struct generation gen;
	uint64_t before, after;

	for (uint64_t seed = 1; seed <= 3; seed++)
		take(store, "a", seed);
	before = bytes_of_packs(store);
	assert_int_equal(gc_forget(store, &two, 1, &options, &result), R_OK);
	after = bytes_of_packs(store);
	assert_int_equal(result.forgotten, 1);
	assert_int_equal(result.kept, 2);
	assert_int_equal(result.bytes_pending, 0);
	assert_int_equal(result.bytes_freed, before - after);
	assert_true(after < before / 10 * 7);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 2);
	check(store, 1, 1);
	check(store, 3, 3);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_generation(view, 2, &gen), R_NOT_FOUND);
	store_view_close(view);
	/* What is gone is stored anew when it comes back. */
	take(store, "b", 2);
	check(store, 4, 2);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* Segments that die within a pack leave holes, and the rest of the pack stays whole. */
static void punches_holes(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct gc_options options = { 0 };
	const uint64_t one = 1;
	struct gc_result result;
	struct generation gen;
	uint64_t before;

	/* The second keeps every other page, so no segment; the third keeps the ghost alone. */
	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(scratch_take_changed(store, "a", 1, 2, 2, PAGES, &gen), R_OK);
	before = bytes_of_packs(store);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_true(bytes_of_packs(store) <= before);
	assert_int_equal(scratch_take(store, "a", 1, 3, &gen), R_OK);
	assert_int_equal(gc_forget(store, (const uint64_t[]){ 2 }, 1, &options, &result), R_OK);
	assert_true(result.bytes_freed > before / 2);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 1);
	store_close(store);
}

/* A view keeps alive what it can reach; the gc after it frees that. */
static void waits_for_views(void **state)
{
	struct store *store = scratch_open(*state);
	struct gc_options options = { 0 };
	const uint64_t one = 1;
	struct store_view *view;
	struct gc_result result;

	take(store, "a", 1);
	take(store, "a", 2);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_int_equal(result.bytes_freed, 0);
	assert_true(result.bytes_pending > 0);
	scratch_check(view, 1, 1, PAGES);
	store_view_close(view);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_true(result.bytes_freed > 0);
	assert_int_equal(result.bytes_pending, 0);
	check(store, 2, 2);
	store_close(store);
}

/*
 * A take that began before its old pages were condemned refers to them in its commit: they live
 * again, by number and by hash.  And if that generation is forgotten at once while a later take
 * already builds on it, they still do.
 */
static void brings_back(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct gc_options options = { .allow_empty = true };
	uint8_t page[PAGE_BYTES];
	struct generation gen = { .root_pid = 1, .time_ns = 7 };
	struct object_writer *writer;
	struct ingest *early, *late;
	const uint64_t one = 1, two = 2;
	struct gc_result result;

	take(store, "a", 1);
	assert_int_equal(ingest_begin(store, "a", &early), R_OK);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_true(result.bytes_pending > 0);
	assert_int_equal(object_begin(early, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < 6; i++) {
		scratch_page(1, i, page);
		assert_int_equal(object_pages(writer, 0x555555554 + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, 0), R_OK);
	assert_int_equal(ingest_commit(early, &gen), R_OK);
	assert_int_equal(gen.pages_shared, 6);

	/* `late` sees generation 2; then that is forgotten, before any gc saw it alive. */
	assert_int_equal(ingest_begin(store, "a", &late), R_OK);
	assert_int_equal(object_begin(late, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < 6; i++) {
		scratch_page(1, i, page);
		assert_int_equal(object_pages(writer, 0x555555554 + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, 0), R_OK);
	assert_int_equal(gc_forget(store, &two, 1, &options, &result), R_OK);
	assert_int_equal(result.bytes_freed, 0);
	assert_int_equal(ingest_commit(late, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_pending, 0);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 1);
	/* They are found by hash again, the other pages of their segment are not. */
	assert_int_equal(scratch_take(store, "c", 1, 6, &gen), R_OK);
	assert_int_equal(gen.pages_shared, 6 + 1); /* the ghost's page comes twice */
	assert_int_equal(scratch_take(store, "c", 1, 200, &gen), R_OK);
	assert_true(gen.pages_new > 150);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

static int take_many(const char *dir, void *arg)
{
	struct generation gen;
	struct store *store;

	(void)arg;
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	for (uint64_t i = 0; i < 30; i++)
		if (scratch_take_changed(store, "beside", i / 3, 99, 3 + i % 5, 700, &gen) != R_OK)
			return 2;
	store_close(store);
	return 0;
}

static int gc_beside(const char *dir, void *arg)
{
	const struct gc_options options = { 0 };
	struct store *store;
	pid_t pid = fork();

	if (pid == 0)
		_exit(take_many(dir, arg));
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	for (int i = 0; i < 60; i++) {
		if (scratch_gc(store, 2, &options) != R_OK)
			return 2;
		usleep(5000);
	}
	store_close(store);
	return scratch_child(take_many, dir, NULL, 0);
}

/* Takes and gcs of several processes get along; all that is left is whole. */
static void beside_takes(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);

	take(store, "a", 1);
	store_close(store);
	assert_int_equal(scratch_child(gc_beside, *state, NULL, 0), 0);
	store = scratch_open(*state);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_true(verified.generations > 30);
	check(store, 1, 1);
	store_close(store);
}

static void unique_bytes(void **state)
{
	struct store *store = scratch_open(*state);
	struct gc_unique *unique;
	struct store_view *view;
	struct generation gen;
	uint64_t first;
	size_t n;

	take(store, "a", 1);
	assert_int_equal(scratch_take_changed(store, "a", 1, 2, 10, PAGES, &gen), R_OK);
	take(store, "a", 3);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(gc_bytes_unique(view, &unique, &n), R_OK);
	store_view_close(view);
	assert_int_equal(n, 3);
	assert_int_equal(unique[2].generation, 3);
	/* A tenth of the pages is changed between 1 and 2, none of 3 is shared. */
	assert_true(unique[0].bytes < unique[2].bytes / 5);
	assert_true(unique[1].bytes < unique[2].bytes / 5);
	assert_true(unique[0].bytes > unique[2].bytes / 20);
	first = unique[0].bytes;
	free(unique);
	/* More than a byte can tell apart, all with what was the third's alone. */
	for (int i = 0; i < 260; i++)
		take(store, "a", 3);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(gc_bytes_unique(view, &unique, &n), R_OK);
	store_view_close(view);
	assert_int_equal(n, 263);
	assert_int_equal(unique[0].bytes, first);
	assert_true(unique[2].bytes < first / 4);
	assert_true(unique[262].bytes < first / 4);
	free(unique);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frees_what_is_forgotten, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(punches_holes, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(waits_for_views, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(brings_back, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(beside_takes, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(unique_bytes, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
