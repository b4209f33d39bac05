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
	return back_plan(*view, generation, back);
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
	char folder[] = "/tmp/snap-back.XXXXXX", file[64], other[64], left[64];

	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/file", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	snprintf(left, sizeof(left), "%s/.snap-%d-0", folder, (int)getpid());
	for (size_t i = 0; i < 3; i++)
		for (int keep = 0; keep < 2; keep++) {
			there_and_back(store, file, other, keep, now[i]);
			assert_int_equal(access(left, F_OK), -1);
		}
	unlink(file);
	unlink(other);
	/* Nothing is left but the folder. */
	assert_int_equal(rmdir(folder), 0);
	store_close(store);
}

/* What a restore has under way is told from what one that is gone has left. */
static void test_left(void **state)
{
	char mine[BACK_NAME_BYTES], other[BACK_NAME_BYTES];
	unsigned int space, file, serial;
	unsigned long long start;
	int pid;

	(void)state;
	back_left_name("data", 3, mine);
	assert_int_equal(
	    sscanf(mine, ".snap-%d-%llx-%x-%x-%u", &pid, &start, &space, &file, &serial), 5);
	assert_int_equal(pid, getpid());
	assert_int_equal(serial, 3);
	assert_true(back_left_is_name(mine) && back_left_is_mine(mine));
	assert_false(back_left_is_dead(mine, "data"));
	/* The same number, but another process. */
	snprintf(other, sizeof(other), ".snap-%d-%llx-%x-%x-3", pid, start + 1, space, file);
	assert_true(back_left_is_name(other) && !back_left_is_mine(other));
	assert_true(back_left_is_dead(other, "data"));
	assert_false(back_left_is_dead(other, "date"));
	/* Where it cannot be known. */
	snprintf(other, sizeof(other), ".snap-%d-%llx-%x-%x-3", pid, start + 1, space + 1, file);
	assert_false(back_left_is_dead(other, "data"));
	snprintf(other, sizeof(other), ".snap-%d-0-%x-%x-3", pid, space, file);
	assert_false(back_left_is_dead(other, "data"));
	assert_false(back_left_is_name(".snap-notes"));
	assert_false(back_left_is_name(".snap-1-2-3-4-5.bak"));
	assert_false(back_left_is_name(".snap-1-2-3-4-05"));
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
