/* Directories that are no store, or none this version can use, are refused and left alone. */
#include "scratch.h"

#include "base/result.h"
#include "store/format.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void not_a_store(void **state)
{
	struct store *store;
	char path[300];

	assert_int_equal(store_open("/nonexistent/x", false, false, &store), R_NOT_FOUND);
	assert_int_equal(store_open(*state, false, false, &store), R_NOT_FOUND);
	put_file(*state, "letter", "dear");
	assert_int_equal(store_open(*state, true, true, &store), R_NOT_FOUND);
	snprintf(path, sizeof(path), "%s/packs", (char *)*state);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/letter/x", (char *)*state);
	assert_int_equal(store_open(path, false, false, &store), R_NOT_FOUND);
}

static void other_formats(void **state)
{
	struct store *store = scratch_open(*state);
	char newer[64];

	store_close(store);
	snprintf(newer, sizeof(newer), "snap-store %d\nuuid 00\nsomething: new\n",
		 FORMAT_VERSION + 1);
	put_file(*state, "snap-store", newer);
	assert_int_equal(store_open(*state, false, false, &store), R_FAILED);
	assert_int_equal(store_open(*state, true, true, &store), R_FAILED);
	put_file(*state, "snap-store", "snap-store 1\nuuid 0123456789abcdef0123456789abcdef\n");
	assert_int_equal(store_open(*state, false, false, &store), R_FAILED);
	assert_int_equal(store_open(*state, true, true, &store), R_FAILED);
	put_file(*state, "snap-store", "\x7f\x45LF");
	assert_int_equal(store_open(*state, true, true, &store), R_DAMAGED);
}

static void modes(void **state)
{
	static const char *const files[] = { "snap-store", "index/data.mdb", "index/lock.mdb",
					     "packs/0000000000000001.pack" };
	struct store *store;
	struct generation gen;
	char path[300];
	struct stat st;

	assert_int_equal(chmod(*state, 0755), 0);
	store = scratch_open(*state);
	assert_int_equal(scratch_take(store, "a", 1, 10, &gen), R_OK);
	store_close(store);
	assert_int_equal(stat(*state, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", (char *)*state, files[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
}

#define NOBODY 65534

/* As a user who may read everything and write nothing. */
static int read_only(const char *dir, void *arg)
{
	struct store_verify_result verified;
	struct generation gen;
	struct store *store;

	(void)arg;
	if (setgid(NOBODY) || setuid(NOBODY))
		return 1;
	if (store_open(dir, false, true, &store) != R_FAILED)
		return 2;
	if (store_open(dir, false, false, &store) != R_OK)
		return 3;
	if (scratch_take(store, "a", 1, 10, &gen) != R_FAILED)
		return 4;
	if (scratch_verify(store, &verified) != R_OK || verified.generations != 1)
		return 5;
	store_close(store);
	return 0;
}

static void read_only_directory(void **state)
{
	struct store *store;
	struct generation gen;
	char command[300];

	if (getuid() != 0)
		skip();
	store = scratch_open(*state);
	assert_int_equal(scratch_take(store, "a", 1, 10, &gen), R_OK);
	store_close(store);
	snprintf(command, sizeof(command), "chmod -R a+rX,a-w '%s'", (char *)*state);
	assert_int_equal(system(command), 0);
	assert_int_equal(scratch_child(read_only, *state, NULL, 0), 0);
}

/* A file of the store in memory. */
struct file {
	char path[300];
	uint8_t *bytes;
	size_t len;
};

static void load_file(struct file *file, const char *dir, const char *name)
{
	FILE *from;

	snprintf(file->path, sizeof(file->path), "%s/%s", dir, name);
	from = fopen(file->path, "re");
	assert_non_null(from);
	file->bytes = malloc((size_t)16 << 20);
	assert_non_null(file->bytes);
	file->len = fread(file->bytes, 1, (size_t)16 << 20, from);
	fclose(from);
}

static void put_back(const struct file *file)
{
	FILE *to = fopen(file->path, "we");

	assert_non_null(to);
	assert_int_equal(fwrite(file->bytes, 1, file->len, to), file->len);
	assert_int_equal(fclose(to), 0);
}

/* 1 if it cannot be opened for writing, 2 if gc refuses. */
static int opens(const char *dir, void *arg)
{
	const struct gc_options options = { .max_unused_percent = 100 };
	struct gc_result result;
	struct store *store;
	int code = 0;

	(void)arg;
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	if (gc_run(store, NULL, &options, &result) != R_OK)
		code = 2;
	store_close(store);
	return code;
}

/* After a clean end the tables that grow with the pages are left out at the next opening, but no gc
 * does without them; a note that is not right is worth nothing. */
static void all_is_looked_at_once(void **state)
{
	struct store *store = scratch_open(*state);
	size_t left_out = 0, seen = 0, page = 0, step = (size_t)scratch_step();
	struct file data, note;
	struct generation gen;

	for (uint64_t seed = 1; seed < 4; seed++)
		assert_int_equal(scratch_take(store, "a", seed, 600, &gen), R_OK);
	store_close(store);
	load_file(&data, *state, "index/data.mdb");
	load_file(&note, *state, "index-walked");
	for (size_t at = 2 * 4096; at + 4096 <= data.len; at += step * 4096) {
		uint8_t was[4096];
		int with, without;

		memcpy(was, data.bytes + at, sizeof(was));
		memset(data.bytes + at, 0, sizeof(was));
		put_back(&data);
		put_back(&note);
		with = scratch_child(opens, *state, NULL, 0);
		put_back(&data);
		assert_int_equal(unlink(note.path), 0);
		without = scratch_child(opens, *state, NULL, 0);
		assert_int_not_equal(without, 2);
		/* What is left out at the opening is seen by gc. */
		assert_int_equal(with != 0, without != 0);
		seen += with == 1;
		if (with == 2) {
			left_out++;
			page = at;
		}
		memcpy(data.bytes + at, was, sizeof(was));
		put_back(&data);
	}
	if (step == 1) {
		assert_in_range(left_out, 1, data.len);
		assert_in_range(seen, 5, data.len);
	}
	memset(data.bytes + page, 0, 4096);
	put_back(&data);
	for (size_t i = 0; left_out > 0 && i < note.len; i += step) {
		note.bytes[i] ^= 1;
		put_back(&note);
		assert_int_equal(scratch_child(opens, *state, NULL, 0), 1);
		note.bytes[i] ^= 1;
	}
	put_back(&note);
	if (left_out > 0)
		assert_int_equal(scratch_child(opens, *state, NULL, 0), 2);
	free(data.bytes);
	free(note.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(not_a_store, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(other_formats, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(modes, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(all_is_looked_at_once, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(read_only_directory, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
