/* Putting files back: images that lie are found out before anything is touched, and every step has
 * its way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../store/scratch.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"
#include "engine/proc/files/back.h"
#include "engine/proc/files/back_left.h"

static void quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

static SnapDataEntry entry_of(const char *path, uint32_t mode)
{
	SnapDataEntry entry = SNAP_DATA_ENTRY__INIT;

	entry.path = (char *)path;
	entry.mode = mode;
	entry.uid = geteuid();
	entry.gid = getegid();
	entry.mtime_sec = 12345;
	return entry;
}

/* A generation with these entries, and one object of contents, "data-1". */
static uint64_t make(struct store *store, SnapDataEntry *entries, size_t n, const char *contents)
{
	struct generation gen = { .root_pid = 1, .tasks = 1 };
	struct image_writer image;
	struct ingest *ingest;

	assert_int_equal(ingest_begin(store, "x", &ingest), R_OK);
	image_writer_init(&image, IMAGE_SNAP_DATA);
	for (size_t i = 0; i < n; i++)
		image_add(&image, &entries[i].base);
	assert_int_equal(image_finish(&image), R_OK);
	assert_int_equal(object_put(ingest, "data-1", contents, strlen(contents)), R_OK);
	assert_int_equal(object_put(ingest, "snap-data", image.data, image.len), R_OK);
	image_writer_free(&image);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	return gen.number;
}

static int plan(struct store *store, uint64_t generation, struct store_view **view,
		struct back **back)
{
	assert_int_equal(store_view_open(store, view), R_OK);
	return back_plan(*view, generation, NULL, back);
}

static int plan_only(struct store *store, SnapDataEntry *entries, size_t n)
{
	struct store_view *view;
	struct back *back;
	int rc = plan(store, make(store, entries, n, "contents"), &view, &back);

	back_free(back);
	store_view_close(view);
	return rc;
}

static void test_lies(void **state)
{
	static const char *const bad[] = {
		"relative", "",	       "/",	    "/tmp/../etc/passwd", "/tmp/./x",
		"/tmp//x",  "/tmp/x/", "/tmp/x/..", "/tmp/x/../../y",
	};
	struct store *store = scratch_open(*state);
	SnapDataEntry e[3];

	warn_set_hook(quiet, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e[0] = entry_of(bad[i], S_IFREG | 0600);
		e[0].object = "data-1";
		if (plan_only(store, e, 1) != R_DAMAGED)
			fail_msg("\"%s\" was believed", bad[i]);
	}
	/* Contents that are not there; a folder or a link that nobody asked to store. */
	e[0] = entry_of("/tmp/x", S_IFREG | 0600);
	e[0].object = "data-2";
	assert_int_equal(plan_only(store, e, 1), R_DAMAGED);
	e[0].object = NULL;
	assert_int_equal(plan_only(store, e, 1), R_DAMAGED);
	e[0] = entry_of("/tmp/x", S_IFDIR | 0700);
	assert_int_equal(plan_only(store, e, 1), R_DAMAGED);
	e[0] = entry_of("/tmp/x", S_IFLNK | 0777);
	e[0].target = "/etc";
	assert_int_equal(plan_only(store, e, 1), R_DAMAGED);
	/* Members of no folder, of another one, hard links to elsewhere. */
	e[0] = entry_of("/tmp/x", S_IFREG | 0600);
	e[0].object = "data-1";
	e[0].in_folder = e[0].has_in_folder = 1;
	assert_int_equal(plan_only(store, e, 1), R_DAMAGED);
	e[1] = e[0];
	e[0] = entry_of("/tmp/root", S_IFDIR | 0700);
	e[0].root = e[0].has_root = 1;
	assert_int_equal(plan_only(store, e, 2), R_DAMAGED);
	e[1].path = "/tmp/root-too/x";
	assert_int_equal(plan_only(store, e, 2), R_DAMAGED);
	e[1].path = "/tmp/root/x";
	assert_int_equal(plan_only(store, e, 2), R_OK);
	e[2] = e[1];
	e[2].path = "/tmp/root/y";
	e[2].same_as = "/etc/shadow";
	assert_int_equal(plan_only(store, e, 3), R_DAMAGED);
	e[2].same_as = "/tmp/root/../x";
	assert_int_equal(plan_only(store, e, 3), R_DAMAGED);
	e[2].same_as = "/tmp/root/x";
	assert_int_equal(plan_only(store, e, 3), R_OK);
	/* A place that is not there. */
	e[0] = entry_of("/tmp/no such folder/x", S_IFREG | 0600);
	e[0].object = "data-1";
	assert_int_equal(plan_only(store, e, 1), R_UNSUPPORTED);
	warn_set_hook(NULL, NULL);
	store_close(store);
}

static char *text_of(const char *path)
{
	char *text = NULL;
	size_t len;

	return io_read_file(AT_FDCWD, path, 4096, &text, &len) == R_OK ? text : NULL;
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), R_OK);
	close(fd);
}

static void expect(const char *path, const char *text)
{
	char *got = text_of(path);

	if (!text)
		assert_null(got);
	else
		assert_string_equal(got ? got : "(nothing)", text);
	free(got);
}

/* What is there is replaced, then kept or returned to: once with a file of its own, once with one
 * that has two names, once where there was none. */
static void there_and_back(struct store *store, const char *file, const char *other, bool keep,
			   const char *now)
{
	SnapDataEntry e = entry_of(file, S_IFREG | 0604);
	struct stat before = { 0 }, after;
	struct store_view *view;
	struct back *back;

	e.object = "data-1";
	e.size = strlen("contents");
	unlink(file);
	unlink(other);
	if (now) {
		put_text(file, now);
		assert_int_equal(stat(file, &before), 0);
	}
	if (now && strcmp(now, "two names") == 0)
		assert_int_equal(link(file, other), 0);
	assert_int_equal(plan(store, make(store, &e, 1, "contents"), &view, &back), R_OK);
	assert_true(back_has(back, file));
	assert_int_equal(back_put(back), R_OK);
	assert_int_equal(back_count(back), 1);
	expect(file, "contents");
	assert_int_equal(stat(file, &after), 0);
	assert_int_equal(after.st_mode & 0777, 0604);
	assert_int_equal(after.st_mtim.tv_sec, 12345);
	if (keep)
		back_keep(back);
	else
		assert_int_equal(back_undo(back), R_OK);
	expect(file, keep ? "contents" : now);
	if (now && !keep) {
		assert_int_equal(stat(file, &after), 0);
		assert_int_equal(after.st_mode, before.st_mode);
		assert_int_equal(after.st_ino, before.st_ino);
		assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	}
	if (now && strcmp(now, "two names") == 0)
		expect(other, keep ? "contents" : now);
	back_free(back);
	store_view_close(view);
}

static void test_there_and_back(void **state)
{
	static const char *const now[] = { "something longer than the contents", "two names",
					   NULL };
	struct store *store = scratch_open(*state);
	char folder[] = "/tmp/snap-back.XXXXXX", file[64], other[64];

	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/file", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	for (size_t i = 0; i < 3; i++)
		for (int keep = 0; keep < 2; keep++)
			there_and_back(store, file, other, keep, now[i]);
	unlink(file);
	unlink(other);
	/* Nothing is left but the folder. */
	assert_int_equal(rmdir(folder), 0);
	store_close(store);
}

static bool is_there(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

static void touch(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* What a restore has under way is told from what one that is gone has left. */
static void test_left(void **state)
{
	static const char *const others[] = { ".snap-notes",
					      ".snap-0123456789abcde",
					      ".snap-0123456789ABCDEF",
					      ".snap-0123456789abcdef-1",
					      ".snap-0123456789abcdef-1-02",
					      ".snap-0123456789abcdef-1-2.bak" };
	char folder[] = "/tmp/snap-left.XXXXXX", mine[BACK_NAME_BYTES], again[BACK_NAME_BYTES];
	char lock[BACK_NAME_BYTES], below[64];
	struct back_names names = { 0 };
	int dir, sub;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(below, sizeof(below), "%s/below", folder);
	assert_int_equal(mkdir(below, 0700), 0);
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	sub = open(below, O_RDONLY | O_DIRECTORY);
	assert_true(dir >= 0 && sub >= 0);

	assert_int_equal(back_names_new(&names, dir, folder, "data", mine), R_OK);
	assert_int_equal(back_names_new(&names, dir, folder, "data", again), R_OK);
	assert_string_not_equal(mine, again);
	touch(dir, mine);
	snprintf(lock, sizeof(lock), "%.*s", (int)strlen(".snap-0123456789abcdef"), mine);
	assert_true(is_there(dir, lock) && !is_there(sub, lock));
	/* Another folder of the same file system needs no descriptor. */
	assert_int_equal(back_names_new(&names, sub, below, "data", again), R_OK);
	assert_true(is_there(sub, lock));
	assert_int_equal(names.n_locks, 1);
	touch(sub, again);
	assert_true(back_left_is_name(mine) && back_left_is_name(lock));
	assert_true(back_left_is_live(dir, mine) && back_left_is_live(dir, lock));
	assert_true(back_left_is_live(sub, again));
	assert_int_equal(back_left_remove(dir, "data"), 0);
	assert_true(is_there(dir, mine) && is_there(dir, lock));

	/* It is gone: what it was for is removed by that name only, its lock with the last. */
	close(names.locks[0]);
	names.n_locks = 0;
	assert_false(back_left_is_live(dir, mine) || back_left_is_live(dir, lock));
	assert_int_equal(back_left_remove(dir, "date"), 0);
	assert_true(is_there(dir, mine) && is_there(dir, lock));
	assert_int_equal(back_left_remove(dir, "data"), 1);
	assert_false(is_there(dir, mine) || is_there(dir, lock));
	/* Also where its lock is gone. */
	assert_int_equal(unlinkat(sub, lock, 0), 0);
	assert_int_equal(back_left_remove(sub, "data"), 1);
	assert_false(is_there(sub, again));
	back_names_end(&names);

	/* One that ends in order leaves no lock. */
	assert_int_equal(back_names_new(&names, dir, folder, "data", mine), R_OK);
	back_names_end(&names);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(back_left_is_name(others[i]));
		touch(dir, others[i]);
	}
	/* What cannot be asked about counts as live. */
	assert_int_equal(symlinkat("nowhere", dir, ".snap-00000000000000aa"), 0);
	assert_true(back_left_is_live(dir, ".snap-00000000000000aa-1-2"));
	assert_int_equal(back_left_remove(dir, "data"), 0);
	assert_int_equal(unlinkat(dir, ".snap-00000000000000aa", 0), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(unlinkat(dir, others[i], 0), 0);
	close(dir);
	close(sub);
	assert_int_equal(rmdir(below), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_left),
		cmocka_unit_test_setup_teardown(test_lies, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_there_and_back, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
