/* A pre-dump: found by the next take of its lineage and by nobody else, and gone after that. */
#include "scratch.h"

#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PAGES 600

/* Object "pages-1" with `n` pages of `seed` from index 10; those of the last one kept from the
 * newest generation or pre-dump from `kept` on. */
static int take(struct store *store, bool predump, uint64_t seed, size_t kept, size_t n,
		int64_t time_ns, struct generation *gen)
{
	struct object_writer *writer;
	struct ingest *ingest;
	uint8_t page[PAGE_BYTES];
	int result = ingest_begin(store, "a", &ingest);

	assert_int_equal(result, R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	for (size_t i = 0; i < kept; i++) {
		scratch_page(seed, i, page);
		assert_int_equal(object_pages(writer, 10 + i, page, 1), R_OK);
	}
	if (kept < n)
		result = object_keep(writer, 10 + kept, n - kept);
	if (object_end(writer, (10 + n) * PAGE_BYTES) != R_OK)
		result = R_FAILED;
	memset(gen, 0, sizeof(*gen));
	gen->predump = predump;
	gen->time_ns = time_ns;
	if (result == R_OK)
		result = ingest_commit(ingest, gen);
	if (result != R_OK)
		ingest_abort(ingest);
	return result;
}

static int count(const struct generation *gen, void *arg)
{
	(void)gen;
	++*(int *)arg;
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void check_page(struct store *store, uint64_t generation, uint64_t seed, uint64_t i)
{
	uint8_t page[PAGE_BYTES], *data;
	struct store_view *view;
	struct object object;
	size_t len;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, generation, "pages-1", &object), R_OK);
	assert_int_equal(store_read_object(view, &object, (void **)&data, &len), R_OK);
	scratch_page(seed, i, page);
	assert_memory_equal(data + (10 + i) * PAGE_BYTES, page, PAGE_BYTES);
	free(data);
	store_view_close(view);
}

static void is_hidden(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen, found;
	struct store_stats stats;
	struct store_view *view;
	int n = 0;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.number, 1);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.number, 2);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_generation_each(view, count, &n), R_OK);
	assert_int_equal(n, 1);
	assert_int_equal(store_generation(view, 2, &found), R_NOT_FOUND);
	assert_int_equal(store_generation_latest(view, "a", &found), R_OK);
	assert_int_equal(found.number, 1);
	assert_int_equal(store_predump_latest(view, "a", &found), R_OK);
	assert_int_equal(found.number, 2);
	assert_true(found.predump);
	assert_int_equal(store_predump_latest(view, "b", &found), R_NOT_FOUND);
	/* Its key is no name. */
	assert_int_equal(store_generation_latest(view, "\1a", &found), R_NOT_FOUND);
	assert_int_equal(store_stats(view, &stats), R_OK);
	assert_int_equal(stats.generations, 1);
	assert_int_equal(stats.lineages, 1);
	store_view_close(view);
	assert_int_equal(store_generation_pin(store, 2, true), R_NOT_FOUND);
	store_close(store);
}

/* What is kept is what the pre-dump has, not the generation before. */
static void is_built_on(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct generation gen;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 3, 1, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.pages_new, 1);
	assert_int_equal(take(store, false, 4, 2, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.number, 4);
	assert_int_equal(gen.pages_new, 2);
	assert_int_equal(gen.pages_shared, PAGES - 2);
	check_page(store, 4, 4, 1);
	check_page(store, 4, 2, 2);
	check_page(store, 4, 2, PAGES - 1);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* A page the pre-dump lacks cannot be kept, whatever the generation before had there. */
static void keeps_nothing_older(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES / 2, PAGES / 2, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, false, 3, 1, PAGES, now_ns(), &gen), R_FAILED);
	store_close(store);
}

static bool has_predump(struct store *store)
{
	struct generation found;
	struct store_view *view;
	int result;

	assert_int_equal(store_view_open(store, &view), R_OK);
	result = store_predump_latest(view, "a", &found);
	store_view_close(view);
	return result == R_OK;
}

/* gc leaves one that no take has followed yet, for a day, and takes all others. */
static void is_forgotten(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct gc_options options = { 0 };
	struct gc_result result;
	struct generation gen;
	const uint64_t one = 1;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.forgotten, 0);
	assert_int_equal(result.kept, 1);
	assert_true(has_predump(store));
	/* It is no generation: the only one there is stays. */
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_BUSY);
	assert_int_equal(take(store, false, 3, 1, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.forgotten, 0);
	assert_int_equal(result.kept, 2);
	assert_false(has_predump(store));
	check_page(store, 3, 3, 0);
	check_page(store, 3, 2, 1);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_true(result.bytes_freed > 0);
	check_page(store, 3, 2, 1);
	/* In vain for more than a day. */
	assert_int_equal(take(store, true, 4, PAGES, PAGES, now_ns() - 90000000000000, &gen), R_OK);
	assert_true(has_predump(store));
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_false(has_predump(store));
	assert_true(result.bytes_freed > 0);
	check_page(store, 3, 2, 1);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* An index that is made anew knows which of them are pre-dumps. */
static void is_repaired(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;
	char path[128];
	bool rebuilt;
	FILE *file;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	store_close(store);
	snprintf(path, sizeof(path), "%s/index/data.mdb", (const char *)*state);
	file = fopen(path, "r+");
	assert_non_null(file);
	for (int i = 0; i < 8192; i++)
		fputc(0x55, file);
	fclose(file);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	assert_true(has_predump(store));
	assert_int_equal(take(store, false, 3, 1, PAGES, now_ns(), &gen), R_OK);
	check_page(store, gen.number, 2, 1);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_hidden, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(is_built_on, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(keeps_nothing_older, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(is_forgotten, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(is_repaired, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
