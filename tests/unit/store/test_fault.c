/* A take and a gc killed at each point: what was committed is whole, the rest is not there. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 700
#define POINTS_MAX 200

static int setup(void **state)
{
	*state = scratch_make();
	return 0;
}

static int teardown(void **state)
{
	scratch_remove(*state);
	return 0;
}

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
	const struct gc_policy policy = { .keep_last = 1 };
	const struct gc_options options = { 0 };
	struct gc_result result;
	struct store_view *view;
	struct gc_plan *plan;
	struct store *store;

	(void)arg;
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	if (store_view_open(store, &view) != R_OK ||
	    gc_plan_policy(view, &policy, 0, &plan) != R_OK)
		return 2;
	store_view_close(view);
	if (gc_run(store, plan, &options, &result) != R_OK)
		return 3;
	gc_plan_free(plan);
	store_close(store);
	return 0;
}

static size_t count_packs(const char *dir)
{
	char path[300];
	struct dirent *entry;
	size_t n = 0;
	DIR *packs;

	snprintf(path, sizeof(path), "%s/packs", dir);
	packs = opendir(path);
	assert_non_null(packs);
	while ((entry = readdir(packs)))
		n += entry->d_name[0] != '.';
	closedir(packs);
	return n;
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
	assert_int_equal(stats.packs, count_packs(dir));
	store_view_close(view);
	store_close(store);
	return verified.generations;
}

/* From the first point of making a store to the last of a take into it. */
static void killed_take(void **state)
{
	uint64_t seed = 1, generations = 0;
	long fault;
	int killed = 0;

	for (fault = 1; fault < POINTS_MAX; fault++, seed++) {
		int code = scratch_child(take_one, *state, &seed, fault);
		uint64_t now = check_all(*state);

		assert_true(code == -1 || code == 0);
		/* The point lies before the commit it is named after. */
		assert_int_equal(now, generations + (code == 0 ? 1 : 0));
		generations = now;
		killed += code == -1;
		if (code == 0)
			break;
	}
	assert_true(killed >= 6);
	assert_int_equal(scratch_child(take_one, *state, &seed, 0), 0);
	assert_int_equal(check_all(*state), generations + 1);
}

static void killed_creation(void **state)
{
	for (long fault = 1; fault < POINTS_MAX; fault++) {
		char *dir = scratch_make();
		uint64_t seed = 1;
		int code = scratch_child(take_one, dir, &seed, fault);

		assert_int_equal(check_all(dir), code == 0 ? 1 : 0);
		assert_int_equal(scratch_child(take_one, dir, &seed, 0), 0);
		assert_int_equal(check_all(dir), code == 0 ? 2 : 1);
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

	for (long fault = 1; fault < POINTS_MAX; fault++) {
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
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		assert_int_equal(result.bytes_freed, 0);
		assert_int_equal(result.pages_dead, 0);
		store_close(store);
		if (code == 0)
			break;
	}
	assert_true(killed >= 4);
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
		cmocka_unit_test_setup_teardown(killed_take, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_creation, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_gc, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
