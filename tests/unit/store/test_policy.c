/* What each rule keeps, for generations at given times. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Generations 1..8 of "a" and 9, 10 of "b"; UTC. */
static const struct {
	const char *lineage, *time;
} takes[] = {
	{ "a", "2024-12-30 10:00" }, /* 1: ISO week 2025-W01 */
	{ "a", "2025-01-02 10:00" }, /* 2: the same week, another year and month */
	{ "a", "2026-11-21 09:00" }, /* 3 */
	{ "a", "2026-11-22 09:00" }, /* 4: Sunday, the same week as 3 */
	{ "a", "2026-11-23 08:00" }, /* 5: Monday */
	{ "a", "2026-11-23 08:30" }, /* 6 */
	{ "a", "2026-11-23 09:10" }, /* 7 */
	{ "a", "2026-11-23 09:50" }, /* 8 */
	{ "b", "2026-11-22 07:00" }, /* 9 */
	{ "b", "2026-11-23 07:00" }, /* 10 */
};
#define TAKES (sizeof(takes) / sizeof(takes[0]))
#define NOW "2026-11-23 10:00"

static int64_t ns_of(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
	return (int64_t)timegm(&tm) * 1000000000;
}

struct scene {
	char *dir;
	struct store *store;
};
static struct scene scene;

static int setup(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	scene.dir = scratch_make();
	scene.store = scratch_open(scene.dir);
	for (size_t i = 0; i < TAKES; i++) {
		struct generation gen = { .time_ns = ns_of(takes[i].time) };
		struct ingest *ingest;

		assert_int_equal(ingest_begin(scene.store, takes[i].lineage, &ingest), R_OK);
		assert_int_equal(ingest_commit(ingest, &gen), R_OK);
		assert_int_equal(gen.number, i + 1);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(scene.store);
	scratch_remove(scene.dir);
	return 0;
}

static struct gc_plan *plan_of(const struct gc_policy *policy)
{
	struct store_view *view;
	struct gc_plan *plan;

	assert_int_equal(store_view_open(scene.store, &view), R_OK);
	assert_int_equal(gc_plan_policy(view, policy, ns_of(NOW), &plan), R_OK);
	store_view_close(view);
	assert_int_equal(plan->n, TAKES);
	return plan;
}

/* `kept` has a letter for each generation: k or -. */
static void expect(const struct gc_policy *policy, const char *kept)
{
	struct gc_plan *plan = plan_of(policy);
	char got[TAKES + 1] = "";

	for (size_t i = 0; i < plan->n; i++) {
		got[i] = plan->items[i].kept ? 'k' : '-';
		assert_true(plan->items[i].reason[0] != '\0');
	}
	assert_string_equal(got, kept);
	gc_plan_free(plan);
}

static void rules(void **state)
{
	const uint64_t hour = 3600ull * 1000000000;

	(void)state;
	expect(&(struct gc_policy){ 0 }, "kkkkkkkkkk");
	expect(&(struct gc_policy){ .keep_last = 3 }, "-----kkkkk");
	expect(&(struct gc_policy){ .keep_last = 1, .lineage = "a" }, "-------kkk");
	expect(&(struct gc_policy){ .keep_hourly = 2 }, "-----k-kkk");
	expect(&(struct gc_policy){ .keep_daily = 2 }, "---k---kkk");
	expect(&(struct gc_policy){ .keep_weekly = 3 }, "-k-k---kkk");
	expect(&(struct gc_policy){ .keep_weekly = 9 }, "-k-k---kkk");
	expect(&(struct gc_policy){ .keep_monthly = 9 }, "kk-----k-k");
	expect(&(struct gc_policy){ .keep_yearly = 2 }, "-k-----k-k");
	expect(&(struct gc_policy){ .keep_within_ns = hour }, "------kk-k");
	expect(&(struct gc_policy){ .keep_within_ns = 10 * hour / 60, .allow_empty = true },
	       "-------k--");
	expect(&(struct gc_policy){ .keep_last = 1, .keep_daily = 3, .keep_yearly = 3 },
	       "kkkk---kkk");
}

static void reasons(void **state)
{
	struct gc_plan *plan;

	(void)state;
	assert_int_equal(store_generation_pin(scene.store, 3, true), R_OK);
	plan = plan_of(&(struct gc_policy){ .keep_last = 2, .keep_daily = 2, .keep_weekly = 1 });
	assert_string_equal(plan->items[7].reason,
			    "last 1 of 2, daily 2026-11-23, weekly 2026-W48");
	assert_string_equal(plan->items[6].reason, "last 2 of 2");
	assert_string_equal(plan->items[3].reason, "daily 2026-11-22");
	assert_string_equal(plan->items[2].reason, "pinned");
	assert_string_equal(plan->items[0].reason, "no rule keeps it");
	gc_plan_free(plan);
	plan = plan_of(&(struct gc_policy){ .keep_within_ns = 1 });
	assert_string_equal(plan->items[9].reason, "the last of its lineage");
	gc_plan_free(plan);
	assert_int_equal(store_generation_pin(scene.store, 3, false), R_OK);
	assert_int_equal(store_generation_pin(scene.store, 99, true), R_NOT_FOUND);
}

static int forget(const uint64_t *numbers, size_t n, bool allow_empty)
{
	const struct gc_options options = { .allow_empty = allow_empty };
	struct gc_result result;

	return gc_forget(scene.store, numbers, n, &options, &result);
}

/* What a policy keeps of one lineage taken at these times (seconds since 1970), in a store of its
 * own; one letter each, as in expect(). */
static void expect_times(const int64_t *seconds, size_t n, const struct gc_policy *policy,
			 int64_t now, const char *kept)
{
	char *dir = scratch_make(), got[32] = "";
	struct store *store = scratch_open(dir);
	struct store_view *view;
	struct gc_plan *plan;

	for (size_t i = 0; i < n; i++) {
		struct generation gen = { .time_ns = seconds[i] * 1000000000 };
		struct ingest *ingest;

		assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
		assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	}
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(gc_plan_policy(view, policy, now * 1000000000, &plan), R_OK);
	store_view_close(view);
	for (size_t i = 0; i < plan->n; i++)
		got[i] = plan->items[i].kept ? 'k' : '-';
	assert_string_equal(got, kept);
	gc_plan_free(plan);
	store_close(store);
	scratch_remove(dir);
}

/* A clock that was set back, or stands still, neither confuses the order nor uses up periods. */
static void odd_clocks(void **state)
{
	const int64_t hour = 3600, day = 24 * hour, t = 19700 * 86400;
	const int64_t back[] = { t, t + hour, t + 2 * hour, t + hour + 60, t + 60 };
	const int64_t equal[] = { t, t, t, t };
	const int64_t future[] = { t, t + day, t + 900 * day, t + 2 * day };

	(void)state;
	/* The last is the one taken last, though its time is the second lowest. */
	expect_times(back, 5, &(struct gc_policy){ .keep_last = 1 }, t + day, "----k");
	/* One of each of three hours, though a walk in order of number meets hours again. */
	expect_times(back, 5, &(struct gc_policy){ .keep_hourly = 9 }, t + day, "--kkk");
	expect_times(back, 5, &(struct gc_policy){ .keep_hourly = 2 }, t + day, "--kk-");
	expect_times(equal, 4, &(struct gc_policy){ .keep_hourly = 3 }, t, "---k");
	expect_times(equal, 4, &(struct gc_policy){ .keep_last = 2 }, t, "--kk");
	expect_times(equal, 4, &(struct gc_policy){ .keep_within_ns = 1 }, t, "kkkk");
	/* None is young enough: the one taken last stays. */
	expect_times(equal, 4, &(struct gc_policy){ .keep_within_ns = 1 }, t + 1, "---k");
	/* Times yet to come are young; their day is a day like others. */
	expect_times(future, 4, &(struct gc_policy){ .keep_within_ns = 1 }, t + 3 * day, "--k-");
	expect_times(future, 4, &(struct gc_policy){ .keep_daily = 2 }, t + 3 * day, "--kk");
}

/* Days and weeks end at midnight where snap runs; an hour that comes twice is two. */
static void borders(void **state)
{
	const int64_t midnight = 1792969200; /* Monday 2026-10-26 00:00 in Berlin, +0100 */
	const int64_t second = 1000000000;
	const int64_t around[] = { midnight - 1, midnight, midnight + 1 };
	/* 2026-10-25: 02:30 +0200, 02:30 +0100, 03:30 */
	const int64_t twice[] = { 1792888200, 1792891800, 1792895400 };

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	expect_times(around, 3, &(struct gc_policy){ .keep_daily = 9 }, midnight, "k-k");
	expect_times(around, 3, &(struct gc_policy){ .keep_weekly = 9 }, midnight, "k-k");
	expect_times(around, 3, &(struct gc_policy){ .keep_monthly = 9 }, midnight, "--k");
	expect_times(twice, 3, &(struct gc_policy){ .keep_hourly = 9 }, midnight, "kkk");
	expect_times(twice, 3, &(struct gc_policy){ .keep_daily = 9 }, midnight, "--k");
	setenv("TZ", "UTC", 1);
	expect_times(around, 3, &(struct gc_policy){ .keep_daily = 9 }, midnight, "--k");
	expect_times(around, 3, &(struct gc_policy){ .keep_hourly = 9 }, midnight, "k-k");
	/* Just as old as is to be kept is kept. */
	expect_times(around, 3, &(struct gc_policy){ .keep_within_ns = second }, midnight + 1,
		     "-kk");
	tzset();
}

/* Last, as it changes the store. */
static void by_hand(void **state)
{
	struct gc_options options = { 0 };
	struct gc_result result;
	struct generation gen;
	struct store_view *view;
	struct gc_plan *plan;

	(void)state;
	assert_int_equal(forget((const uint64_t[]){ 99 }, 1, false), R_NOT_FOUND);
	assert_int_equal(store_generation_pin(scene.store, 10, true), R_OK);
	assert_int_equal(forget((const uint64_t[]){ 10 }, 1, false), R_BUSY);
	assert_int_equal(store_generation_pin(scene.store, 10, false), R_OK);
	assert_int_equal(forget((const uint64_t[]){ 9, 10 }, 2, false), R_BUSY);

	/* Pinned between plan and run: it stays. */
	plan = plan_of(&(struct gc_policy){ .keep_last = 1 });
	assert_int_equal(store_generation_pin(scene.store, 1, true), R_OK);
	assert_int_equal(gc_run(scene.store, plan, &options, &result), R_OK);
	gc_plan_free(plan);
	assert_int_equal(result.forgotten, 7);
	assert_int_equal(result.kept, 3);

	assert_int_equal(forget((const uint64_t[]){ 8 }, 1, false), R_OK);
	assert_int_equal(store_view_open(scene.store, &view), R_OK);
	assert_int_equal(store_generation_latest(view, "a", &gen), R_OK);
	assert_int_equal(gen.number, 1);
	store_view_close(view);
	assert_int_equal(forget((const uint64_t[]){ 10 }, 1, true), R_OK);
	assert_int_equal(store_view_open(scene.store, &view), R_OK);
	assert_int_equal(store_generation_latest(view, "b", &gen), R_NOT_FOUND);
	store_view_close(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),   cmocka_unit_test(reasons), cmocka_unit_test(odd_clocks),
		cmocka_unit_test(borders), cmocka_unit_test(by_hand),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
