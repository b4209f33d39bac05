/* A pre-dump: found by the next take of its lineage and by nobody else, and gone after that. */
#include "scratch.h"

#include "base/result.h"
#include "store/store_internal.h"
#include "store/store_reap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PAGES 600
#define PREDUMP(n) (PREDUMP_FIRST + (n))

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

/* What the next take of the lineage builds on. */
static uint64_t newest(struct store *store)
{
	uint8_t uuid[16];
	uint64_t number;

	assert_int_equal(lineage_newest(store, "a", uuid, &number), R_OK);
	return number;
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
	assert_int_equal(gen.number, PREDUMP(1));
	assert_int_equal(store_number_shown(gen.number), 1);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_generation_each(view, count, &n), R_OK);
	assert_int_equal(n, 1);
	assert_int_equal(store_generation(view, gen.number, &found), R_NOT_FOUND);
	assert_int_equal(store_generation_latest(view, "a", &found), R_OK);
	assert_int_equal(found.number, 1);
	assert_int_equal(store_predump_latest(view, "a", &found), R_OK);
	assert_int_equal(found.number, gen.number);
	assert_true(found.predump);
	assert_int_equal(store_predump_latest(view, "b", &found), R_NOT_FOUND);
	/* Its key is no name. */
	assert_int_equal(store_generation_latest(view, "\1a", &found), R_NOT_FOUND);
	assert_int_equal(store_stats(view, &stats), R_OK);
	assert_int_equal(stats.generations, 1);
	assert_int_equal(stats.lineages, 1);
	store_view_close(view);
	assert_int_equal(store_generation_pin(store, gen.number, true), R_NOT_FOUND);
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
	assert_int_equal(gen.number, 2);
	assert_int_equal(gen.pages_new, 2);
	assert_int_equal(gen.pages_shared, PAGES - 2);
	check_page(store, 2, 4, 1);
	check_page(store, 2, 2, 2);
	check_page(store, 2, 2, PAGES - 1);
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
	check_page(store, 2, 3, 0);
	check_page(store, 2, 2, 1);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_true(result.bytes_freed > 0);
	check_page(store, 2, 2, 1);
	/* In vain for more than a day. */
	assert_int_equal(take(store, true, 4, PAGES, PAGES, now_ns() - 90000000000000, &gen), R_OK);
	assert_true(has_predump(store));
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_false(has_predump(store));
	assert_true(result.bytes_freed > 0);
	check_page(store, 2, 2, 1);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* Damages the index of a store that is not open, and has it made anew. */
static void damage_index(const char *dir)
{
	char path[128];
	bool rebuilt;
	FILE *file;

	snprintf(path, sizeof(path), "%s/index/data.mdb", dir);
	file = fopen(path, "r+");
	assert_non_null(file);
	for (int i = 0; i < 8192; i++)
		fputc(0x55, file);
	fclose(file);
	assert_int_equal(store_repair_index(dir, &rebuilt), R_OK);
	assert_true(rebuilt);
}

/* An index that is made anew knows which of them are pre-dumps. */
static void is_repaired(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;

	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	store_close(store);
	damage_index(*state);
	store = scratch_open(*state);
	assert_true(has_predump(store));
	assert_int_equal(newest(store), PREDUMP(1));
	assert_int_equal(take(store, false, 3, 1, PAGES, now_ns(), &gen), R_OK);
	/* No number comes twice, even of those that the copy had not heard of. */
	assert_in_range(gen.number, 3, 1000);
	check_page(store, gen.number, 2, 1);
	assert_int_equal(newest(store), gen.number);
	assert_int_equal(take(store, true, 4, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_true(gen.number > PREDUMP(1000));
	store_close(store);
}

/* Takes with two rounds of reading ahead each, one that fails after its pre-dump, gcs, another
 * lineage between a pre-dump and its take, the store opened anew: 1, 2, 3, ... */
static void leaves_no_gaps(void **state)
{
	struct store *store = scratch_open(*state);
	struct gc_options options = { 0 };
	struct store_verify_result verified;
	struct gc_result result;
	struct generation gen;

	for (uint64_t i = 1; i <= 9; i += 2) {
		assert_int_equal(take(store, true, 10 * i, PAGES, PAGES, now_ns(), &gen), R_OK);
		assert_int_equal(take(store, true, 10 * i + 1, 1, PAGES, now_ns(), &gen), R_OK);
		assert_int_equal(store_number_shown(gen.number), 3 * (i / 2) + 2);
		assert_int_equal(newest(store), gen.number);
		/* It has other pages than the last take of it. */
		assert_int_equal(take(store, false, 1, 1, PAGES + 1, now_ns(), &gen), R_FAILED);
		assert_int_equal(scratch_take(store, "b", i, 10, &gen), R_OK);
		assert_int_equal(gen.number, i);
		assert_int_equal(take(store, true, 10 * i + 2, 2, PAGES, now_ns(), &gen), R_OK);
		if (i % 4 == 1) {
			store_close(store);
			store = scratch_open(*state);
		}
		assert_int_equal(newest(store), gen.number);
		assert_int_equal(take(store, false, 10 * i + 3, 3, PAGES, now_ns(), &gen), R_OK);
		assert_int_equal(gen.number, i + 1);
		assert_int_equal(gen.pages_new, 3);
		assert_int_equal(newest(store), gen.number);
		check_page(store, gen.number, 10 * i + 3, 2);
		check_page(store, gen.number, 10 * i, 3);
		if (i % 4 == 3)
			assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	}
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.kept, 10);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 10);
	store_close(store);
}

/* A store that an earlier snap made goes on as it began. */
static void format_3(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct gc_options options = { 0 };
	struct gc_result result;
	struct generation gen;
	uint64_t number;

	store_close(store);
	scratch_make_older(*state, 3);
	store = scratch_open(*state);
	assert_int_equal(take(store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(take(store, true, 2, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.number, 2);
	assert_int_equal(store_number_shown(gen.number), 2);
	assert_int_equal(newest(store), 2);
	store_close(store);
	damage_index(*state);
	store = scratch_open(*state);
	assert_int_equal(store->version, 3);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(newest(store), 2);
	assert_int_equal(take(store, false, 3, 1, PAGES, now_ns(), &gen), R_OK);
	number = gen.number;
	assert_in_range(number, 3, 1000);
	assert_int_equal(newest(store), number);
	check_page(store, number, 2, 1);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_false(has_predump(store));
	assert_int_equal(take(store, true, 4, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(gen.number, number + 1);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 3);
	store_close(store);
}

/* Reads ahead for another lineage while a gc is at work. */
struct beside {
	struct store *store;
	const char *phase; /* of the gc, in which it is committed */
	struct ingest *ingest;
	struct generation gen;
	bool forgotten; /* at once */
};

static int forget_it(struct reap *reap, void *arg)
{
	const struct beside *beside = arg;

	return reap_forget(reap, &beside->gen, 0);
}

static bool commit_beside(void *arg, const char *phase, uint64_t done, uint64_t total,
			  enum progress_unit unit)
{
	struct beside *beside = arg;
	struct object_writer *writer;
	uint8_t page[PAGE_BYTES];

	(void)done;
	(void)total;
	(void)unit;
	if (!beside->ingest || strcmp(phase, beside->phase) != 0)
		return true;
	assert_int_equal(object_begin(beside->ingest, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < PAGES; i++) {
		scratch_page(1, i, page);
		assert_int_equal(object_pages(writer, 10 + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, (10 + PAGES) * PAGE_BYTES), R_OK);
	beside->gen = (struct generation){ .predump = true, .time_ns = now_ns() };
	assert_int_equal(ingest_commit(beside->ingest, &beside->gen), R_OK);
	assert_int_equal(beside->gen.pages_new, 0);
	beside->ingest = NULL;
	if (beside->forgotten)
		assert_int_equal(reap_write(beside->store, forget_it, beside), R_OK);
	return true;
}

static void gc_beside(const char *dir, bool forgotten, const char *phase, struct gc_result *result)
{
	struct beside beside = { .store = scratch_open(dir),
				 .phase = phase,
				 .forgotten = forgotten };
	const struct progress progress = { commit_beside, &beside };
	struct gc_options options = { .allow_empty = true,
				      .wait_ns = 20000000,
				      .progress = &progress };
	struct store_verify_result verified;
	const uint64_t one = 1;
	struct generation gen;

	assert_int_equal(take(beside.store, false, 1, PAGES, PAGES, now_ns(), &gen), R_OK);
	assert_int_equal(ingest_begin(beside.store, "b", &beside.ingest), R_OK);
	assert_int_equal(gc_forget(beside.store, &one, 1, &options, result), R_OK);
	assert_null(beside.ingest);
	if (!forgotten)
		check_page(beside.store, beside.gen.number, 1, PAGES - 1);
	assert_int_equal(scratch_verify(beside.store, &verified), R_OK);
	assert_int_equal(verified.generations, forgotten ? 0 : 1);
	store_close(beside.store);
}

/* Pages that were dead when the gc looked, and that are read ahead again before it takes them. */
static void brings_back(void **state)
{
	struct gc_result result;

	gc_beside(*state, false, "waiting for takes and readers", &result);
	assert_true(result.bytes_freed < PAGES * 100);
}

/* What it reached is not known, so the gc throws away nothing; the next one does. */
static void comes_and_goes(void **state)
{
	struct gc_options options = { .allow_empty = true };
	struct gc_result result;
	struct store *store;

	gc_beside(*state, true, "looking for dead pages", &result);
	assert_int_equal(result.bytes_freed, 0);
	assert_int_equal(result.bytes_pending, 0);
	store = scratch_open(*state);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_true(result.bytes_freed > PAGES * 100);
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
		cmocka_unit_test_setup_teardown(leaves_no_gaps, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(format_3, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(brings_back, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(comes_and_goes, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
