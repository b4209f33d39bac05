/* What gc needs beside one bit for each page number, however much is committed while it runs. */
#include "scratch.h"

#include "base/progress.h"
#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A list of that many numbers would be eight times MOST_BYTES. */
#define PAGES ((size_t)1 << 17)
#define BATCH ((size_t)256)
#define MOST_BYTES ((size_t)128 << 10)

/* The greatest size anything grew to while `counting`; views have room of one size. */
static _Thread_local bool counting;
static size_t greatest;

static void count(size_t bytes)
{
	if (counting && bytes > greatest)
		greatest = bytes;
}

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes)
{
	count(bytes);
	return __real_realloc(old, bytes);
}

void *__real_reallocarray(void *old, size_t n, size_t bytes);
void *__wrap_reallocarray(void *old, size_t n, size_t bytes);
void *__wrap_reallocarray(void *old, size_t n, size_t bytes)
{
	count(n * bytes);
	return __real_reallocarray(old, n, bytes);
}

/* PAGES pages that nobody else has. */
static int take_huge(struct store *store, struct generation *gen)
{
	static uint64_t pages[BATCH][PAGE_BYTES / 8];
	struct object_writer *writer;
	struct ingest *ingest;
	int result = ingest_begin(store, "huge", &ingest);

	if (result != R_OK)
		return result;
	memset(gen, 0, sizeof(*gen));
	result = object_begin(ingest, "pages-1", &writer);
	for (size_t i = 0; result == R_OK && i < PAGES; i += BATCH) {
		for (size_t k = 0; k < BATCH; k++)
			pages[k][0] = i + k + 1;
		result = object_pages(writer, i, pages, BATCH);
	}
	if (result == R_OK)
		result = object_end(writer, PAGES * PAGE_BYTES);
	if (result == R_OK)
		result = ingest_commit(ingest, gen);
	if (result != R_OK)
		ingest_abort(ingest);
	return result;
}

struct beside {
	struct store *store;
	uint64_t committed; /* the huge generation */
};

/* Before anything is dropped, and after everything there is has been marked. */
static bool commit_beside(void *arg, const char *phase, uint64_t done, uint64_t total,
			  enum progress_unit unit)
{
	struct beside *beside = arg;
	struct generation gen;

	(void)done;
	(void)total;
	(void)unit;
	if (beside->committed || strcmp(phase, "looking for dead pages") != 0)
		return true;
	counting = false;
	assert_int_equal(take_huge(beside->store, &gen), R_OK);
	beside->committed = gen.number;
	counting = true;
	return true;
}

static void a_bit_for_each_number(void **state)
{
	struct store *store = scratch_open(*state);
	struct beside beside = { .store = store };
	const struct progress progress = { commit_beside, &beside };
	const struct gc_options options = { .max_unused_percent = 100, .progress = &progress };
	const uint64_t first = 1;
	struct gc_result result;
	struct generation gen;

	for (uint64_t seed = 1; seed <= 2; seed++)
		assert_int_equal(scratch_take(store, "a", seed, 1000, &gen), R_OK);
	counting = true;
	assert_int_equal(gc_forget(store, &first, 1, &options, &result), R_OK);
	counting = false;
	assert_int_equal(beside.committed, 3);
	assert_int_equal(result.forgotten, 1);
	assert_true(result.pages_dead > 0);
	assert_in_range(greatest, 1, MOST_BYTES);
	scratch_verify_whole(store, 2);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_bit_for_each_number, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
