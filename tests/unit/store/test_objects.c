/* Objects come back as they went in, and what is equal is stored once. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"
#include "store/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 1500

static void round_trip(void **state)
{
	struct store_verify_result verified;
	struct store_view *view;
	struct store *store = scratch_open(*state);
	struct generation gen;
	struct object object;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.number, 1);
	assert_int_equal(gen.pages_scanned, 1 + PAGES + 2 + 3);
	assert_int_equal(gen.pages_zero, PAGES / 7 + 3);
	/* The second page of the ghost is the first once more. */
	assert_int_equal(gen.pages_shared, 1);
	assert_int_equal(gen.pages_new, gen.pages_scanned - gen.pages_zero - 1);
	assert_true(gen.bytes_stored < gen.pages_new * PAGE_BYTES / 2);
	store_close(store);

	assert_int_equal(store_open(*state, false, false, &store), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_generation_latest(view, "a", &gen), R_OK);
	assert_int_equal(gen.number, 1);
	assert_int_equal(gen.root_pid, 17);
	assert_string_equal(gen.lineage, "a");
	scratch_check(view, 1, 1, PAGES);
	assert_int_equal(store_object(view, 1, "nothing", &object), R_NOT_FOUND);
	assert_int_equal(store_object(view, 2, "image", &object), R_NOT_FOUND);
	assert_int_equal(store_generation_latest(view, "b", &gen), R_NOT_FOUND);
	store_view_close(view);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.objects, 3);
	store_close(store);
}

struct ghost {
	uint64_t seen[4];
	size_t runs;
};

static int see_ghost(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct ghost *ghost = arg;

	if (index == 1000) {
		assert_int_equal(n, 3);
		assert_int_equal(numbers[0], PAGE_ZERO);
	} else {
		assert_int_equal(n, 1);
		assert_true(numbers[0] > PAGE_ZERO);
	}
	ghost->seen[ghost->runs++] = index;
	return 0;
}

static void sparse(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_view *view;
	struct ghost ghost = { 0 };
	struct generation gen;
	struct object object;

	assert_int_equal(scratch_take(store, "a", 1, 10, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 1, "ghost-1", &object), R_OK);
	assert_int_equal(object.length_bytes, 2002 * PAGE_BYTES);
	assert_int_equal(object.height, 2);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, see_ghost, &ghost), 0);
	assert_int_equal(ghost.runs, 3);
	assert_int_equal(ghost.seen[0], 0);
	assert_int_equal(ghost.seen[1], 1000);
	assert_int_equal(ghost.seen[2], 2001);
	/* Only a part. */
	ghost.runs = 0;
	assert_int_equal(store_object_walk(view, &object, 1, 2001, see_ghost, &ghost), 0);
	assert_int_equal(ghost.runs, 1);
	store_view_close(view);
	store_close(store);
}

static void empty_and_zero(void **state)
{
	struct store *store = scratch_open(*state);
	uint8_t zeroes[PAGE_BYTES] = { 0 };
	struct generation gen = { .root_pid = 1 };
	struct object_writer *writer;
	struct store_view *view;
	struct ingest *ingest;
	struct object object;
	void *data;
	size_t len;

	assert_int_equal(ingest_begin(store, "z", &ingest), R_OK);
	assert_int_equal(object_put(ingest, "empty", "", 0), R_OK);
	assert_int_equal(object_put(ingest, "zero", zeroes, sizeof(zeroes)), R_OK);
	assert_int_equal(object_begin(ingest, "far", &writer), R_OK);
	/* The page of the kernel's vsyscall is the highest an address space has. */
	assert_int_equal(object_zero(writer, 0xffffffffff600ull, 1), R_OK);
	assert_int_equal(object_end(writer, UINT64_MAX), R_OK);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	assert_int_equal(gen.pages_zero, 2);
	assert_int_equal(gen.pages_new, 0);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 1, "empty", &object), R_OK);
	assert_int_equal(object.root, PAGE_ABSENT);
	assert_int_equal(store_read_object(view, &object, &data, &len), R_OK);
	assert_int_equal(len, 0);
	free(data);
	assert_int_equal(store_object(view, 1, "zero", &object), R_OK);
	assert_int_equal(object.root, PAGE_ZERO);
	assert_int_equal(store_object(view, 1, "far", &object), R_OK);
	assert_int_equal(object.height, 6);
	store_view_close(view);
	store_close(store);
}

static void equal_is_stored_once(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation first, same, changed, other;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &first), R_OK);
	assert_int_equal(scratch_take(store, "a", 1, PAGES, &same), R_OK);
	assert_int_equal(same.pages_new, 0);
	assert_int_equal(same.pages_shared, first.pages_new + first.pages_shared);
	assert_true(same.bytes_stored < 4096);
	/* Every 100th page but zero ones; its leaf nodes are stored anew, not the rest. */
	assert_int_equal(scratch_take_changed(store, "a", 1, 2, 100, PAGES, &changed), R_OK);
	assert_int_equal(changed.pages_new, PAGES / 100 - PAGES / 700);
	assert_true(changed.bytes_stored < first.bytes_stored / 10);
	/* Another lineage finds them by hash, confirmed by reading. */
	assert_int_equal(scratch_take(store, "b", 1, PAGES, &other), R_OK);
	assert_int_equal(other.pages_new, 0);
	assert_int_equal(other.number, 4);
	store_close(store);
}

static void two_tries(void **state)
{
	struct store *store = scratch_open(*state), *again;
	struct object_writer *writer;
	struct generation gen;
	struct ingest *ingest;
	uint8_t page[PAGE_BYTES] = { 1 };

	/* One process opens a store once. */
	assert_int_equal(store_open(*state, false, false, &again), R_FAILED);
	/* Pages out of order make the generation impossible, and leave no trace of it. */
	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	assert_int_equal(object_pages(writer, 5, page, 1), R_OK);
	assert_int_equal(object_pages(writer, 5, page, 1), R_FAILED);
	assert_int_equal(object_end(writer, 0), R_FAILED);
	assert_int_equal(ingest_commit(ingest, &gen), R_FAILED);
	ingest_abort(ingest);
	assert_int_equal(scratch_take(store, "a", 1, 10, &gen), R_OK);
	assert_int_equal(gen.number, 1);
	store_close(store);
}

/* The index begins tiny and has to grow many times, also beside an open view. */
static void index_grows(void **state)
{
	struct store_verify_result verified;
	struct store_view *view;
	struct store *store;
	struct generation gen;

	index_set_map_bytes(128 * 1024);
	store = scratch_open(*state);
	index_set_map_bytes(0);
	assert_int_equal(scratch_take(store, "a", 1, 100, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	for (uint64_t seed = 2; seed < 6; seed++)
		assert_int_equal(scratch_take(store, "a", seed, PAGES, &gen), R_OK);
	scratch_check(view, 1, 1, 100);
	assert_int_equal(store_generation(view, 2, &gen), R_NOT_FOUND);
	store_view_close(view);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 5);
	store_close(store);
}

/* Two processes at once; every generation of both is whole and the numbers are given once. */
static int take_three(const char *dir, void *arg)
{
	struct generation gen;
	struct store *store;

	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	for (uint64_t i = 0; i < 3; i++)
		if (scratch_take(store, arg, 10 + i, PAGES, &gen) != R_OK)
			return 2;
	store_close(store);
	return 0;
}

static int take_beside(const char *dir, void *arg)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(take_three(dir, "beside"));
	return take_three(dir, arg) + scratch_child(take_three, dir, "after", 0);
}

static void two_processes(void **state)
{
	struct store_verify_result verified;
	struct store *store = scratch_open(*state);
	struct store_view *view;

	store_close(store);
	assert_int_equal(scratch_child(take_beside, *state, "a", 0), 0);
	/* The process beside may still be at work. */
	store = scratch_open(*state);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(scratch_verify(store, &verified), R_OK);
		if (verified.generations == 9)
			break;
		usleep(100000);
	}
	assert_int_equal(verified.generations, 9);
	assert_int_equal(store_view_open(store, &view), R_OK);
	for (uint64_t number = 1; number <= 9; number++) {
		struct generation gen;

		assert_int_equal(store_generation(view, number, &gen), R_OK);
		scratch_check(view, number, (uint64_t)gen.time_ns, PAGES);
	}
	store_view_close(view);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(round_trip, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(sparse, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(empty_and_zero, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(equal_is_stored_once, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(two_tries, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(index_grows, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(two_processes, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
