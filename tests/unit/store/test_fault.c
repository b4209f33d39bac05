/* A take and a gc killed at each point: what was committed is whole, the rest is not there. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 300 /* more than one segment */
#define POINTS_MAX 200

static int take_one(const char *dir, void *arg)
{
	const uint64_t *seed = arg;
	struct generation gen;
	struct store *store;

	if (store_open(dir, true, true, &store) != R_OK)
		return 1;
	if (scratch_take(store, "a", *seed, PAGES, &gen) != R_OK)
		return 2;
	store_close(store);
	return 0;
}

static int collect(const char *dir, void *arg)
{
	const struct gc_options options = { 0 };
	struct store *store;

	(void)arg;
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	if (scratch_gc(store, 1, &options) != R_OK)
		return 2;
	store_close(store);
	return 0;
}

static int check_one(const struct generation *gen, void *arg)
{
	scratch_check(arg, gen->number, (uint64_t)gen->time_ns, PAGES);
	return 0;
}

/* Opens the store as the next command would; everything in it is whole, and no pack is left that
 * belongs to nobody.  The number of generations. */
static uint64_t check_all(const char *dir)
{
	struct store_verify_result verified;
	struct store_stats stats;
	struct store_view *view;
	struct store *store;

	assert_int_equal(store_open(dir, true, true, &store), R_OK);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_generation_each(view, check_one, view), 0);
	assert_int_equal(store_stats(view, &stats), R_OK);
	assert_int_equal(stats.packs, scratch_count_packs(dir));
	store_view_close(view);
	store_close(store);
	return verified.generations;
}

/* From the first point of making a store to the last of a take into it. */
static void killed_take(void **state)
{
	uint64_t seed = 1, generations = 0;
	long fault, step = scratch_step();
	int killed = 0, behind = 0;

	for (fault = 1; fault < POINTS_MAX; fault += step, seed++) {
		int code = scratch_child(take_one, *state, &seed, fault);
		uint64_t now = check_all(*state);

		assert_true(code == -1 || code == 0);
		/* Points lie before the commit they are named after; behind it, only the copy of
		 * the index is renewed. */
		assert_in_range(now, generations + (code == 0 ? 1 : 0), generations + 1);
		if (now > generations && code == -1)
			behind++;
		generations = now;
		killed += code == -1;
		if (code == 0)
			break;
	}
	assert_true((killed - behind + 1) * step > 6);
	assert_in_range(behind, 0, 4);
	assert_int_equal(scratch_child(take_one, *state, &seed, 0), 0);
	assert_int_equal(check_all(*state), generations + 1);
}

static void killed_creation(void **state)
{
	for (long fault = 1; fault < POINTS_MAX; fault += scratch_step()) {
		char *dir = scratch_make();
		uint64_t seed = 1;
		int code = scratch_child(take_one, dir, &seed, fault);

		uint64_t made = check_all(dir);

		assert_in_range(made, code == 0, 1);
		assert_int_equal(scratch_child(take_one, dir, &seed, 0), 0);
		assert_int_equal(check_all(dir), made + 1);
		scratch_remove(dir);
		if (code == 0) {
			assert_true(fault > 8);
			return;
		}
	}
	(void)state;
	fail_msg("no end of fault points");
}

/* Generations to forget each time: one with a pack of its own, one whose pack it shares. */
static void killed_gc(void **state)
{
	uint64_t seed = 1;
	int killed = 0;

	for (long fault = 1; fault < POINTS_MAX; fault += scratch_step()) {
		struct gc_options options = { 0 };
		struct gc_result result;
		struct generation gen;
		struct store *store = scratch_open(*state);
		int code;

		for (int i = 0; i < 2; i++, seed++)
			assert_int_equal(scratch_take(store, "a", seed, PAGES, &gen), R_OK);
		/* All of this one but its nodes is in the pack of the one before. */
		assert_int_equal(scratch_take(store, "a", seed - 1, PAGES, &gen), R_OK);
		store_close(store);
		code = scratch_child(collect, *state, NULL, fault);
		assert_true(code == -1 || code == 0);
		killed += code == -1;
		assert_in_range(check_all(*state), 1, 4);
		/* The next one goes on where it was interrupted. */
		assert_int_equal(scratch_child(collect, *state, NULL, 0), 0);
		assert_int_equal(check_all(*state), 1);
		store = scratch_open(*state);
		/* Segments written anew may have made differences longer than their page. */
		for (int runs = 0; runs == 0 || result.pages_detached > 0; runs++) {
			assert_true(runs < 3);
			assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		}
		assert_int_equal(result.bytes_freed, 0);
		assert_int_equal(result.pages_dead, 0);
		store_close(store);
		if (code == 0)
			break;
	}
	assert_true((killed + 1) * scratch_step() > 4);
}

static uint64_t bytes_of_packs(const char *dir)
{
	struct store *store = scratch_open(dir);
	struct store_stats stats;
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_stats(view, &stats), R_OK);
	store_view_close(view);
	store_close(store);
	return stats.bytes_packs;
}

static int compact(const char *dir, void *arg)
{
	const struct gc_options *options = arg;
	struct gc_result result;
	struct store *store;

	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	if (gc_run(store, NULL, options, &result) != R_OK)
		return 2;
	store_close(store);
	return result.bytes_pending ? 3 : 0;
}

static int take_half(const char *dir, void *arg)
{
	struct generation gen;
	struct store *store;

	(void)arg;
	if (store_open(dir, true, true, &store) != R_OK)
		return 1;
	/* The pages of the first that the second replaces die: all over its segments. */
	if (scratch_take(store, "a", 1, PAGES, &gen) != R_OK ||
	    scratch_take_changed(store, "a", 1, 2, 2, PAGES, &gen) != R_OK)
		return 2;
	if (scratch_take(store, "b", 3, PAGES, &gen) != R_OK)
		return 3;
	store_close(store);
	return 0;
}

static void check_whole(const char *dir)
{
	struct store_verify_result verified;
	struct store_stats stats;
	struct store_view *view;
	struct store *store = scratch_open(dir);

	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 2);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_stats(view, &stats), R_OK);
	assert_int_equal(stats.packs, scratch_count_packs(dir));
	scratch_check(view, 3, 3, PAGES);
	store_view_close(view);
	store_close(store);
}

/* A gc with these options killed at each point, in a store of its own each time; the next one
 * leaves as many bytes as one that was not killed. */
static void killed_copying(const struct gc_options *options)
{
	const uint64_t one = 1;
	uint64_t expected = 0;
	int killed = 0;

	for (long fault = 0; fault < POINTS_MAX; fault += fault ? scratch_step() : 1) {
		const struct gc_options keep = { .max_unused_percent = 100 };
		char *dir = scratch_make();
		struct gc_result result;
		struct store *store;
		uint64_t before;
		int code;

		assert_int_equal(scratch_child(take_half, dir, NULL, 0), 0);
		store = scratch_open(dir);
		assert_int_equal(gc_forget(store, &one, 1, &keep, &result), R_OK);
		store_close(store);
		before = bytes_of_packs(dir);
		code = scratch_child(compact, dir, (void *)options, fault);
		assert_true(code == -1 || code == 0);
		check_whole(dir);
		assert_int_equal(scratch_child(compact, dir, (void *)options, 0), 0);
		check_whole(dir);
		if (fault == 0)
			expected = bytes_of_packs(dir);
		assert_true(expected < before);
		/* One that was killed between two steps leaves its packs in another order. */
		assert_in_range(bytes_of_packs(dir), expected - 8192, expected + 8192);
		scratch_remove(dir);
		killed += code == -1;
		if (fault > 0 && code == 0)
			break;
	}
	/* Opening, condemning, a reservation, the pack, a segment, two syncs, the switch, the
	 * holes, punching or unlinking, striking out. */
	assert_true((killed + 1) * scratch_step() > 11);
	assert_in_range(killed, 1, POINTS_MAX - 2);
}

static void killed_compaction(void **state)
{
	(void)state;
	killed_copying(&(struct gc_options){ 0 });
}

static void killed_recompression(void **state)
{
	(void)state;
	killed_copying(&(struct gc_options){ .recompress = true });
}

/* No file may grow beyond the limit: what a full disk does to each of them. */
static int take_limited(const char *dir, void *arg)
{
	const struct rlimit limit = { *(rlim_t *)arg, *(rlim_t *)arg };
	struct generation gen;
	struct store *store;
	int result;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 9;
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	result = scratch_take(store, "a", 1, 20 * PAGES, &gen);
	store_close(store);
	return result == R_OK ? 0 : 2;
}

static void full_disk(void **state)
{
	rlim_t limit = 40 << 10;
	struct generation gen;
	struct store *store;
	int failed = 0;

	/* Something must be there to be spared. */
	store = scratch_open(*state);
	assert_int_equal(scratch_take(store, "a", 7, PAGES, &gen), R_OK);
	store_close(store);
	while (scratch_child(take_limited, *state, &limit, 0) != 0) {
		assert_int_equal(check_all(*state), 1);
		failed++;
		limit *= 2;
		assert_true(limit < 1 << 30);
	}
	assert_true(failed >= 3);
	store = scratch_open(*state);
	assert_int_equal(scratch_take(store, "a", 8, PAGES, &gen), R_OK);
	assert_int_equal(gen.number, 3);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(killed_take, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(killed_creation, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(killed_gc, scratch_setup, scratch_teardown),
		cmocka_unit_test(killed_compaction),
		cmocka_unit_test(killed_recompression),
		cmocka_unit_test_setup_teardown(full_disk, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
