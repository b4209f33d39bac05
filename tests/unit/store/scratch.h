/* A store in a new directory, objects made of recognisable pages, and other processes. */
#ifndef SNAP_TESTS_UNIT_STORE_SCRATCH_H
#define SNAP_TESTS_UNIT_STORE_SCRATCH_H

#include "dedup/dedup.h"
#include "gc/gc.h"

/* A new directory below /dev/shm or /tmp, without a store in it yet; freed by scratch_remove(). */
char *scratch_make(void);
void scratch_remove(char *dir);

/* The two as cmocka wants them: the directory is the state of the test. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* Opens the store of `dir`, making it; asserts. */
struct store *scratch_open(const char *dir);

/* Makes of an empty store that is not open one that an earlier snap made, of that format; asserts.
 */
void scratch_make_older(const char *dir, unsigned int version);

/* Page `i` of the content `seed`: compressible, different for each pair. */
void scratch_page(uint64_t seed, uint64_t i, void *page);

/* One generation with the objects "image" (17 bytes naming the seed), "pages-1" (`n` pages from
 * index 0x555555554, every 7th zero) and "ghost-1" (a page, a gap of 2000, a page).  R_OK, or what
 * failed. */
int scratch_take(struct store *store, const char *lineage, uint64_t seed, size_t n,
		 struct generation *gen);

/* Reads that generation back and compares every byte; asserts. */
void scratch_check(struct store_view *view, uint64_t generation, uint64_t seed, size_t n);

/* The pages of the take are those of `seed`, but for every `step`-th, which is of `other`. */
int scratch_take_changed(struct store *store, const char *lineage, uint64_t seed, uint64_t other,
			 size_t step, size_t n, struct generation *gen);

/* The same as scratch_take(), trusting no hash. */
int scratch_take_comparing(struct store *store, const char *lineage, uint64_t seed, size_t n,
			   struct generation *gen);

/* How many fault points a test goes on at once: 1, or $SNAP_TEST_STEP where time is short. */
long scratch_step(void);

/* Runs `fn` in a child process, with SNAP_FAULT=`fault` unless that is 0; its exit code, or -1 if
 * it was killed. */
int scratch_child(int (*fn)(const char *dir, void *arg), const char *dir, void *arg, long fault);

/* Waits for a child process; its exit code, or -1 if it was killed. */
int scratch_wait(int pid);

/* One gc that keeps the last `keep_last` generations of each lineage.  R_OK, or what failed. */
int scratch_gc(struct store *store, uint64_t keep_last, const struct gc_options *options);

/* Verifies all data; R_OK or R_DAMAGED. */
int scratch_verify(struct store *store, struct store_verify_result *result);

/* The same, asserting that all is whole and that there are so many generations. */
void scratch_verify_whole(struct store *store, uint64_t generations);

/* What the store is made of now; asserts. */
struct store_stats scratch_stats(struct store *store);

/* The packs of the store in `dir`, by their files; asserts. */
size_t scratch_count_packs(const char *dir);

#endif
