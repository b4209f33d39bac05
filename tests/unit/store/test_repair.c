/* An index made anew while the disk fails: only what cannot be read is lost. */
#include "scratch.h"

#include "base/result.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 2000
#define BLOCK 4096

static off_t bad_at = -1; /* the block of any file that cannot be read */
static bool all_bad, no_list;

ssize_t __real_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset)
{
	if (all_bad) {
		errno = EIO;
		return -1;
	}
	if (bad_at >= 0 && offset < bad_at + BLOCK && offset + (off_t)len > bad_at) {
		if (offset < bad_at)
			return __real_pread64(fd, buf, (size_t)(bad_at - offset), offset);
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buf, len, offset);
}

struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir)
{
	if (!no_list)
		return __real_readdir64(dir);
	errno = EIO;
	return NULL;
}

static int teardown(void **state)
{
	bad_at = -1;
	all_bad = no_list = false;
	return scratch_teardown(state);
}

static void lose_index(const char *dir)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/index/data.mdb", dir);
	assert_int_equal(unlink(path), 0);
}

static void take_and_lose_index(const char *dir)
{
	struct store *store = scratch_open(dir);
	struct generation gen;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	store_close(store);
	lose_index(dir);
}

static bool is_full(const uint8_t *segment)
{
	return segment[8] == 0 && segment[9] == 1;
}

/* A block in which there is nothing but segments of memory: those are full. */
static off_t block_of_data(const char *dir)
{
	static uint8_t pack[8 << 20];
	const uint8_t *at = pack, *before = NULL, *end;
	char path[300];
	FILE *in;

	snprintf(path, sizeof(path), "%s/packs/0000000000000001.pack", dir);
	in = fopen(path, "re");
	assert_non_null(in);
	end = pack + fread(pack, 1, sizeof(pack), in);
	fclose(in);
	for (; (at = memmem(at, (size_t)(end - at), "SNAPSEG2", 8)); before = at++)
		if (before && is_full(before) && is_full(at))
			return (at - pack) / BLOCK * BLOCK;
	fail();
	return -1;
}

/* The segments behind a block that cannot be read are found. */
static void bad_block(void **state)
{
	struct store_verify_result result;
	struct store *store;
	bool rebuilt;

	take_and_lose_index(*state);
	bad_at = block_of_data(*state);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	assert_int_equal(scratch_verify(store, &result), R_DAMAGED);
	assert_in_range(result.damaged, 1, 2 * 256);
	assert_in_range(result.pages, PAGES / 2, PAGES);
	bad_at = -1;
	store_close(store);
}

/* A pack of which nothing can be read stays: the cause may be a cable. */
static void nothing_read(void **state)
{
	struct store *store;
	bool rebuilt;

	take_and_lose_index(*state);
	all_bad = true;
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	store_close(scratch_open(*state));
	all_bad = false;
	lose_index(*state);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	store = scratch_open(*state);
	scratch_verify_whole(store, 1);
	store_close(store);
}

static void copy_file(const char *dir, const char *from, const char *to)
{
	char command[900];

	snprintf(command, sizeof(command), "cp %s/%s %s/%s", dir, from, dir, to);
	assert_int_equal(system(command), 0);
}

/* By a copy from before the last take: its generation is lost, and no other one gets its number. */
static void copy_behind(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;
	bool rebuilt;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	store_close(store);
	copy_file(*state, "index-copy", "before");
	store = scratch_open(*state);
	assert_int_equal(scratch_take(store, "a", 2, PAGES, &gen), R_OK);
	assert_int_equal(gen.number, 2);
	store_close(store);
	copy_file(*state, "before", "index-copy");
	lose_index(*state);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	scratch_verify_whole(store, 1);
	assert_int_equal(scratch_take(store, "a", 3, PAGES, &gen), R_OK);
	assert_true(gen.number > 2);
	scratch_verify_whole(store, 2);
	store_close(store);
}

/* Packs that could not be listed would be taken for those of interrupted takes, and removed. */
static void unlisted(void **state)
{
	struct store *store;
	bool rebuilt;

	take_and_lose_index(*state);
	no_list = true;
	assert_int_equal(store_repair_index(*state, &rebuilt), R_FAILED);
	assert_false(rebuilt);
	no_list = false;
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	scratch_verify_whole(store, 1);
	store_close(store);
}

static int forget_first(const char *dir, void *arg)
{
	static const uint64_t one = 1;
	const struct gc_options options = { .recompress = arg != NULL };
	struct gc_result result;
	struct store *store;

	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	return gc_forget(store, &one, 1, &options, &result) == R_OK ? 0 : 1;
}

/* What a gc was copying when it was killed does not take the place of what it copied from. */
static void kill_and_repair(bool recompress)
{
	int code = -1, kills = 0;

	for (long fault = 1; code != 0; fault += scratch_step()) {
		char *dir = scratch_make();
		struct store *store = scratch_open(dir);
		struct generation gen;
		struct store_verify_result result;
		bool rebuilt;

		assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
		assert_int_equal(scratch_take_changed(store, "a", 1, 2, 2, PAGES, &gen), R_OK);
		store_close(store);
		code = scratch_child(forget_first, dir, recompress ? dir : NULL, fault);
		assert_true(code == 0 || code == -1);
		kills += code == -1;
		lose_index(dir);
		assert_int_equal(store_repair_index(dir, &rebuilt), R_OK);
		store = scratch_open(dir);
		if (scratch_verify(store, &result) != R_OK)
			fail_msg("killed at point %ld: %lu pages lost", fault,
				 (unsigned long)result.damaged);
		store_close(store);
		scratch_remove(dir);
	}
	assert_true(kills > 10 / scratch_step());
}

static void beside_leftovers(void **state)
{
	(void)state;
	kill_and_repair(false);
	kill_and_repair(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_block, scratch_setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_read, scratch_setup, teardown),
		cmocka_unit_test_setup_teardown(copy_behind, scratch_setup, teardown),
		cmocka_unit_test_setup_teardown(unlisted, scratch_setup, teardown),
		cmocka_unit_test(beside_leftovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
