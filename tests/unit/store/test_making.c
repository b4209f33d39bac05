/* A store in directories that are new as well: their names last as soon as it does. */
#include "scratch.h"

#include "base/result.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SYNCED_MAX 256

/* What was synced since begin(), in order. */
static struct stat synced[SYNCED_MAX];
static size_t n_synced;
static const char *failing; /* the directory that cannot be synced */

static bool is_at(const struct stat *st, const char *path)
{
	struct stat there;

	assert_int_equal(stat(path, &there), 0);
	return st->st_dev == there.st_dev && st->st_ino == there.st_ino;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (failing && is_at(&st, failing)) {
		errno = EIO;
		return -1;
	}
	assert_true(n_synced < SYNCED_MAX);
	synced[n_synced++] = st;
	return __real_fsync(fd);
}

static bool was_synced(const char *path)
{
	for (size_t i = 0; i < n_synced; i++)
		if (is_at(&synced[i], path))
			return true;
	return false;
}

static const char *below(const char *dir, const char *name)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* Each directory that got a new name on the way to the store. */
static void assert_lasts(const char *dir)
{
	assert_true(was_synced(dir));
	assert_true(was_synced(below(dir, "a")));
	assert_true(was_synced(below(dir, "a/b")));
	assert_true(was_synced(below(dir, "a/b/store")));
}

static void new_directories(void **state)
{
	const char *dir = *state;

	n_synced = 0;
	store_close(scratch_open(below(dir, "a/b/store")));
	assert_lasts(dir);
	n_synced = 0;
	store_close(scratch_open(below(dir, "a/b/store")));
	assert_false(was_synced(dir));
}

/* The command that made the directories was killed before it synced them. */
static void directories_left(void **state)
{
	const char *dir = *state;

	assert_int_equal(mkdir(below(dir, "a"), 0700), 0);
	assert_int_equal(mkdir(below(dir, "a/b"), 0700), 0);
	n_synced = 0;
	store_close(scratch_open(below(dir, "a/b/store")));
	assert_lasts(dir);
}

/* Of what does not last there is no store. */
static void not_synced(void **state)
{
	const char *dir = *state;
	struct store *store;

	failing = dir;
	assert_int_equal(store_open(below(dir, "a/b/store"), true, true, &store), R_FAILED);
	failing = NULL;
	assert_int_equal(access(below(dir, "a/b/store/snap-store"), F_OK), -1);
	n_synced = 0;
	store_close(scratch_open(below(dir, "a/b/store")));
	assert_lasts(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(new_directories, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(directories_left, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(not_synced, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
