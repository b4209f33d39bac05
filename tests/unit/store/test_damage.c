/* Damage is found, named, and never read as data. */
#include "scratch.h"

#include "base/result.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 600

static void pack_path(const char *dir, char path[300])
{
	snprintf(path, 300, "%s/packs/0000000000000001.pack", dir);
}

static void flip(const char *dir, off_t offset)
{
	char path[300];
	uint8_t byte;
	int fd;

	pack_path(dir, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

struct seen {
	size_t n, pages, nodes, directories;
	uint64_t generation;
};

static void see(const struct store_damage *damage, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	seen->generation = damage->generation;
	assert_non_null(damage->reason);
	assert_true(damage->number > PAGE_ZERO);
	if (!damage->object)
		seen->directories++;
	else if (strstr(damage->reason, "node"))
		seen->nodes++;
	else
		seen->pages++;
}

static int verify(struct store *store, bool data, struct seen *seen,
		  struct store_verify_result *result)
{
	struct store_verify_options options = { .data = data, .damage = see, .arg = seen };
	struct store_view *view;
	int outcome;

	memset(seen, 0, sizeof(*seen));
	assert_int_equal(store_view_open(store, &view), R_OK);
	outcome = store_verify(view, &options, result);
	store_view_close(view);
	return outcome;
}

/* What reads back is right or refused: each byte of the pack flipped in turn, at a stride. */
static void flipped_bytes(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;
	size_t found = 0, tried = 0;
	struct stat st;
	char path[300];

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	pack_path(*state, path);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 64; at < st.st_size; at += st.st_size / 60, tried++) {
		struct store_verify_result result;
		struct seen seen;
		int outcome;

		flip(*state, at);
		outcome = verify(store, true, &seen, &result);
		assert_true(outcome == R_OK || outcome == R_DAMAGED);
		assert_int_equal(result.damaged, seen.n);
		if (outcome == R_DAMAGED) {
			assert_true(seen.n > 0);
			assert_int_equal(seen.generation, 1);
			found++;
		}
		flip(*state, at);
	}
	/* Every byte behind the pack's own header counts. */
	assert_int_equal(found, tried);
	store_close(store);
}

struct bad_page {
	struct store_view *view;
	size_t damaged, whole;
};

static int read_each(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct bad_page *bad = arg;

	for (size_t i = 0; i < n; i++) {
		uint8_t page[PAGE_BYTES];
		page_no which = 0;
		int result = store_read_pages(bad->view, numbers + i, 1, page, &which);

		(void)index;
		if (result == R_OK) {
			bad->whole++;
			continue;
		}
		assert_int_equal(result, R_DAMAGED);
		assert_int_equal(which, numbers[i]);
		bad->damaged++;
	}
	return 0;
}

/* One cluster is lost, its neighbours are read; the next take stores the lost pages anew. */
static void one_cluster(void **state)
{
	struct store *store = scratch_open(*state);
	struct bad_page bad = { 0 };
	struct store_view *view;
	struct generation gen;
	struct object object;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	/* Behind the header of the first segment and a few clusters. */
	flip(*state, 64 + 6400 + 40000);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 1, "pages-1", &object), R_OK);
	bad.view = view;
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, read_each, &bad), 0);
	assert_in_range(bad.damaged, 1, 16);
	assert_int_equal(bad.damaged + bad.whole, PAGES);
	store_view_close(view);
	/* Another lineage compares bytes and so does not trust them. */
	assert_int_equal(scratch_take(store, "b", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.pages_new, bad.damaged);
	assert_int_equal(store_view_open(store, &view), R_OK);
	scratch_check(view, 2, 1, PAGES);
	store_view_close(view);
	store_close(store);
}

/* The lineage's own next take does not look at what it knows, unless it is to compare; then it
 * stores the lost pages anew, and they are found by their hash from then on. */
static void healed(void **state)
{
	struct store *store = scratch_open(*state);
	struct bad_page bad = { 0 };
	struct generation gen;
	struct object object;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	flip(*state, 64 + 4500 + 20000);
	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);
	assert_int_equal(store_view_open(store, &bad.view), R_OK);
	assert_int_equal(store_object(bad.view, 2, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(bad.view, &object, 0, UINT64_MAX, read_each, &bad), 0);
	assert_in_range(bad.damaged, 1, 16);
	store_view_close(bad.view);
	assert_int_equal(scratch_take_comparing(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.pages_new, bad.damaged);
	assert_int_equal(store_view_open(store, &bad.view), R_OK);
	scratch_check(bad.view, 3, 1, PAGES);
	store_view_close(bad.view);
	assert_int_equal(scratch_take(store, "b", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);
	store_close(store);
}

/* A pack that is gone is found without --data, in every generation that needs it. */
static void lost_pack(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_verify_result result;
	struct generation gen;
	struct seen seen;
	char path[300];

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(scratch_take_changed(store, "a", 1, 2, 3, PAGES, &gen), R_OK);
	assert_int_equal(verify(store, false, &seen, &result), R_OK);
	pack_path(*state, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(verify(store, false, &seen, &result), R_DAMAGED);
	/* Of the first everything; of the second what has not changed, and what is stored as a
	 * difference to that, as the nodes over the pages are. */
	assert_int_equal(seen.directories, 1);
	assert_int_equal(seen.generation, 2);
	assert_true(seen.nodes > 0);
	assert_true(seen.pages > 0);
	store_close(store);
}

/* A directory that says what cannot be is told of, and a take does without what it names. */
static void impossible_height(void **state)
{
	const struct object odd = { .root = 2, .height = 1000, .length_bytes = PAGE_BYTES };
	struct store *store = scratch_open(*state);
	struct store_view *view;
	struct generation gen = { 0 };
	struct ingest *ingest;
	struct object object;

	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(object_take_over(ingest, "pages-1", &odd, 0), R_OK);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, gen.number, "pages-1", &object), R_DAMAGED);
	store_view_close(view);
	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	scratch_check(view, gen.number, 1, PAGES);
	store_view_close(view);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(impossible_height, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(flipped_bytes, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(one_cluster, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(healed, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(lost_pack, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
