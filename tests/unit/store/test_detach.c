/* Pages are taken off chains of differences over what no generation reaches any more. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t words = 15; /* of each page change every time */

/* Page `i` as it is at `time`. */
static void drifting_page(uint64_t time, uint64_t i, uint64_t *page)
{
	scratch_page(7, i, page);
	for (uint64_t t = 1; t <= time; t++)
		for (uint64_t w = 0; w < words; w++)
			page[(t * 83 + i + w) % 512] =
			    (t * 1000003 + i * 31 + w + 1) * 0x9e3779b97f4a7c15ull;
}

#define DRIFTING 600

static void take_drifting(struct store *store, uint64_t time)
{
	struct generation gen = { .root_pid = 1 };
	struct object_writer *writer;
	struct ingest *ingest;
	uint64_t page[512];

	assert_int_equal(ingest_begin(store, "d", &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < DRIFTING; i++) {
		drifting_page(time, i, page);
		assert_int_equal(object_pages(writer, i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, DRIFTING * PAGE_BYTES), R_OK);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
}

struct reading {
	struct store_view *view;
	uint64_t time, next;
};

static int check_drifting(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct reading *reading = arg;
	uint64_t page[512], expected[512];
	page_no bad;

	for (size_t k = 0; k < n; k++, reading->next++) {
		drifting_page(reading->time, index + k, expected);
		assert_int_equal(store_read_pages(reading->view, numbers + k, 1, page, &bad), R_OK);
		assert_memory_equal(page, expected, PAGE_BYTES);
	}
	return 0;
}

static void read_drifting(struct store *store, uint64_t generation, uint64_t time)
{
	struct reading reading = { .time = time };
	struct object object;

	assert_int_equal(store_view_open(store, &reading.view), R_OK);
	assert_int_equal(store_object(reading.view, generation, "pages-1", &object), R_OK);
	assert_int_equal(
	    store_object_walk(reading.view, &object, 0, UINT64_MAX, check_drifting, &reading), 0);
	assert_int_equal(reading.next, DRIFTING);
	store_view_close(reading.view);
}

/* What the last generations need of those that are forgotten shrinks to one page each. */
static void detaches_from_forgotten_bases(void **state)
{
	const struct gc_options plain = { .max_unused_percent = 100 };
	struct gc_options options = { .recompress = true };
	struct store *store = scratch_open(*state);
	uint64_t pages, bytes;
	struct gc_result result;

	for (uint64_t time = 0; time < 8; time++)
		take_drifting(store, time);
	for (uint64_t number = 1; number <= 6; number++)
		assert_int_equal(gc_forget(store, &number, 1, &plain, &result), R_OK);
	pages = scratch_stats(store).pages;
	bytes = scratch_stats(store).bytes_packs;
	assert_true(pages > 8 * DRIFTING); /* all of them are bases of the last */
	options.max_rewrite_bytes = 8192;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		assert_true(result.bytes_rewritten > 0);
		scratch_verify_whole(store, 2);
	}
	options.max_rewrite_bytes = 0;
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_pending, 0);
	/* Each of the last two, one as a difference to the other, and what is not memory. */
	assert_in_range(scratch_stats(store).pages, 2 * DRIFTING, 2 * DRIFTING + 100);
	assert_true(scratch_stats(store).bytes_packs < bytes);
	scratch_verify_whole(store, 2);
	read_drifting(store, 7, 6);
	read_drifting(store, 8, 7);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	store_close(store);
}

/* Where several pages that are kept are differences to one that is not, each would be stored in
 * full in its place: it stays until one of them is left. */
static void siblings_share_a_base(void **state)
{
	const struct gc_options options = { .recompress = true };
	struct store *store = scratch_open(*state);
	struct gc_result result;

	words = 2; /* so few that all differ from the first */
	for (uint64_t time = 0; time < 6; time++)
		take_drifting(store, time);
	for (uint64_t number = 1; number <= 4; number++) {
		assert_int_equal(gc_forget(store, &number, 1, &options, &result), R_OK);
		assert_in_range(result.pages_detached, 0, 50); /* nodes */
	}
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_in_range(scratch_stats(store).pages, 3 * DRIFTING, 3 * DRIFTING + 100);
	scratch_verify_whole(store, 2);
	read_drifting(store, 5, 4);
	read_drifting(store, 6, 5);
	assert_int_equal(gc_forget(store, &(uint64_t){ 5 }, 1, &options, &result), R_OK);
	assert_in_range(result.pages_detached, DRIFTING, DRIFTING + 50);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_in_range(scratch_stats(store).pages, DRIFTING, DRIFTING + 100);
	scratch_verify_whole(store, 1);
	read_drifting(store, 6, 5);
	words = 15;
	store_close(store);
}

/* Without being told to recompress, gc does so once the differences are larger than the pages and
 * more of the store than may be unused: chains do not make a store grow without end. */
static void chains_do_not_pile_up(void **state)
{
	const struct gc_options never = { .max_unused_percent = 100 };
	const struct gc_options options = { .max_unused_percent = 10 };
	struct store *store = scratch_open(*state);
	uint64_t detached = 0, bytes, alone;
	struct gc_result result;

	take_drifting(store, 0);
	alone = scratch_stats(store).bytes_packs;
	for (uint64_t time = 1; time < 13; time++) {
		take_drifting(store, time);
		assert_int_equal(gc_forget(store, &time, 1, &never, &result), R_OK);
		assert_int_equal(result.pages_detached, 0);
	}
	bytes = scratch_stats(store).bytes_packs;
	assert_true(bytes > alone + alone / 2);
	/* What is dead by that goes in the same run, or in those after it. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		detached += result.pages_detached;
		scratch_verify_whole(store, 1);
	}
	assert_in_range(detached, DRIFTING, DRIFTING + 50); /* nodes too */
	assert_true(scratch_stats(store).bytes_packs < bytes);
	assert_in_range(scratch_stats(store).pages, DRIFTING, DRIFTING + 100);
	read_drifting(store, 13, 12);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	assert_int_equal(result.bytes_dead_left, result.bytes_dead);
	store_close(store);
}

/* A page that a kept generation reaches in the middle of a chain keeps what is below it. */
static void middles_are_kept(void **state)
{
	const struct gc_options options = { .max_unused_percent = 0 };
	struct store *store = scratch_open(*state);
	struct gc_result result;

	for (uint64_t time = 0; time < 13; time++)
		take_drifting(store, time);
	for (uint64_t number = 1; number <= 12; number++)
		if (number != 7)
			assert_int_equal(gc_forget(store, &number, 1, &options, &result), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	scratch_verify_whole(store, 2);
	read_drifting(store, 7, 6);
	read_drifting(store, 13, 12);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(detaches_from_forgotten_bases, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(siblings_share_a_base, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(chains_do_not_pile_up, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(middles_are_kept, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
