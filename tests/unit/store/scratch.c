#include "scratch.h"

#include "base/result.h"
#include "store/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BASE 0x555555554ull
#define IN_MEMORY "/dev/shm"
#define ROOM_BYTES ((uint64_t)1 << 30)

/* A file system in memory is enough if it has room: no test asks whether a disk syncs. */
static const char *scratch_parent(void)
{
	struct statvfs fs;

	if (access(IN_MEMORY, W_OK) == 0 && statvfs(IN_MEMORY, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize > ROOM_BYTES)
		return IN_MEMORY;
	return "/tmp";
}

char *scratch_make(void)
{
	char *dir = NULL;

	assert_true(asprintf(&dir, "%s/snap-unit.XXXXXX", scratch_parent()) > 0);
	assert_non_null(mkdtemp(dir));
	return dir;
}

void scratch_remove(char *dir)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
	free(dir);
}

int scratch_setup(void **state)
{
	*state = scratch_make();
	return 0;
}

int scratch_teardown(void **state)
{
	scratch_remove(*state);
	return 0;
}

struct store *scratch_open(const char *dir)
{
	struct store *store;

	assert_int_equal(store_open(dir, true, true, &store), R_OK);
	return store;
}

void scratch_make_older(const char *dir, unsigned int version)
{
	char path[300], text[16], now[16];
	int fd;

	snprintf(path, sizeof(path), "%s/snap-store", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, text, 13, 0), 13);
	text[13] = '\0';
	snprintf(now, sizeof(now), "snap-store %d\n", FORMAT_VERSION);
	assert_string_equal(text, now);
	snprintf(now, sizeof(now), "snap-store %u\n", version);
	assert_int_equal(pwrite(fd, now, 13, 0), 13);
	close(fd);
}

void scratch_page(uint64_t seed, uint64_t i, void *page)
{
	uint64_t *words = page, x = (seed * 1000003 + i) * 0x9e3779b97f4a7c15ull + 1;

	for (size_t w = 0; w < PAGE_BYTES / 8; w++) {
		/* Runs of eight equal words, so that it compresses. */
		if (w % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		words[w] = x;
	}
}

static void make_page(uint64_t seed, uint64_t other, size_t step, size_t i, void *page)
{
	if (i % 7 == 6)
		memset(page, 0, PAGE_BYTES);
	else
		scratch_page(step && i % step == 0 ? other : seed, i, page);
}

static int put_pages(struct ingest *ingest, uint64_t seed, uint64_t other, size_t step, size_t n)
{
	struct object_writer *writer;
	uint8_t pages[8 * PAGE_BYTES];
	int result;

	result = object_begin(ingest, "pages-1", &writer);
	for (size_t i = 0; result == R_OK && i < n;) {
		size_t batch = n - i < 8 ? n - i : 8;

		for (size_t k = 0; k < batch; k++)
			make_page(seed, other, step, i + k, pages + k * PAGE_BYTES);
		result = object_pages(writer, BASE + i, pages, batch);
		i += batch;
	}
	if (result != R_OK)
		return result;
	return object_end(writer, (BASE + n) * PAGE_BYTES);
}

static int put_ghost(struct ingest *ingest, uint64_t seed)
{
	struct object_writer *writer;
	uint8_t page[PAGE_BYTES];
	int result;

	result = object_begin(ingest, "ghost-1", &writer);
	scratch_page(seed, 1 << 20, page);
	if (result == R_OK)
		result = object_pages(writer, 0, page, 1);
	if (result == R_OK)
		result = object_zero(writer, 1000, 3);
	if (result == R_OK)
		result = object_pages(writer, 2001, page, 1);
	if (result != R_OK)
		return result;
	return object_end(writer, 2002 * PAGE_BYTES);
}

static int take_any(struct store *store, const char *lineage, uint64_t seed, uint64_t other,
		    size_t step, size_t n, bool compare, struct generation *gen)
{
	struct ingest *ingest;
	char text[18];
	int result;

	memset(gen, 0, sizeof(*gen));
	result = ingest_begin(store, lineage, &ingest);
	if (result != R_OK)
		return result;
	if (compare)
		ingest_compare(ingest);
	snprintf(text, sizeof(text), "%017lu", (unsigned long)seed);
	result = object_put(ingest, "image", text, 17);
	if (result == R_OK)
		result = put_pages(ingest, seed, other, step, n);
	if (result == R_OK)
		result = put_ghost(ingest, seed);
	gen->time_ns = (int64_t)seed;
	gen->root_pid = 17;
	if (result == R_OK)
		result = ingest_commit(ingest, gen);
	if (result != R_OK)
		ingest_abort(ingest);
	return result;
}

int scratch_take_changed(struct store *store, const char *lineage, uint64_t seed, uint64_t other,
			 size_t step, size_t n, struct generation *gen)
{
	return take_any(store, lineage, seed, other, step, n, false, gen);
}

int scratch_take_comparing(struct store *store, const char *lineage, uint64_t seed, size_t n,
			   struct generation *gen)
{
	return take_any(store, lineage, seed, 0, 0, n, true, gen);
}

int scratch_take(struct store *store, const char *lineage, uint64_t seed, size_t n,
		 struct generation *gen)
{
	return scratch_take_changed(store, lineage, seed, 0, 0, n, gen);
}

struct check {
	struct store_view *view;
	uint64_t seed, next;
};

static int check_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	uint8_t page[PAGE_BYTES], expected[PAGE_BYTES];
	struct check *check = arg;
	page_no bad;

	assert_int_equal(index, BASE + check->next);
	for (size_t i = 0; i < n; i++, check->next++) {
		make_page(check->seed, 0, 0, check->next, expected);
		assert_int_equal(store_read_pages(check->view, numbers + i, 1, page, &bad), R_OK);
		assert_memory_equal(page, expected, PAGE_BYTES);
	}
	return 0;
}

void scratch_check(struct store_view *view, uint64_t generation, uint64_t seed, size_t n)
{
	struct check check = { view, seed, 0 };
	struct object object;
	char text[18];
	void *data;
	size_t len;

	assert_int_equal(store_object(view, generation, "image", &object), R_OK);
	assert_int_equal(store_read_object(view, &object, &data, &len), R_OK);
	snprintf(text, sizeof(text), "%017lu", (unsigned long)seed);
	assert_int_equal(len, 17);
	assert_string_equal(data, text);
	free(data);
	assert_int_equal(store_object(view, generation, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, check_run, &check), 0);
	assert_int_equal(check.next, n);
}

int scratch_wait(int pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int scratch_child(int (*fn)(const char *dir, void *arg), const char *dir, void *arg, long fault)
{
	char text[24];
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		snprintf(text, sizeof(text), "%ld", fault);
		setenv("SNAP_FAULT", text, 1);
		_exit(fn(dir, arg));
	}
	return scratch_wait(pid);
}

int scratch_verify(struct store *store, struct store_verify_result *result)
{
	const struct store_verify_options options = { .data = true };
	struct store_view *view;
	int outcome;

	assert_int_equal(store_view_open(store, &view), R_OK);
	outcome = store_verify(view, &options, result);
	store_view_close(view);
	return outcome;
}

int scratch_gc(struct store *store, uint64_t keep_last, const struct gc_options *options)
{
	const struct gc_policy policy = { .keep_last = keep_last };
	struct gc_result result;
	struct store_view *view;
	struct gc_plan *plan;
	int outcome;

	outcome = store_view_open(store, &view);
	if (outcome != R_OK)
		return outcome;
	outcome = gc_plan_policy(view, &policy, 0, &plan);
	store_view_close(view);
	if (outcome != R_OK)
		return outcome;
	outcome = gc_run(store, plan, options, &result);
	gc_plan_free(plan);
	return outcome;
}

long scratch_step(void)
{
	const char *text = getenv("SNAP_TEST_STEP");

	return text ? strtol(text, NULL, 10) : 1;
}

struct store_stats scratch_stats(struct store *store)
{
	struct store_stats stats;
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_stats(view, &stats), R_OK);
	store_view_close(view);
	return stats;
}

void scratch_verify_whole(struct store *store, uint64_t generations)
{
	struct store_verify_result verified;

	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, generations);
}

size_t scratch_count_packs(const char *dir)
{
	char path[400];
	struct dirent *entry;
	size_t n = 0;
	DIR *packs;

	snprintf(path, sizeof(path), "%s/packs", dir);
	packs = opendir(path);
	assert_non_null(packs);
	while ((entry = readdir(packs)))
		n += entry->d_name[0] != '.';
	closedir(packs);
	return n;
}
