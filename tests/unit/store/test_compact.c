/* Packs that are partly dead are copied without what is dead, and nothing that lives is lost. */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"
#include "store/store_reap.h"

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

#define PAGES 1000
#define BASE 0x555555554ull

static struct generation take_changed(struct store *store, uint64_t seed, uint64_t other,
				      size_t step)
{
	struct generation gen;

	assert_int_equal(scratch_take_changed(store, "a", seed, other, step, PAGES, &gen), R_OK);
	return gen;
}

/* The pages of a generation whose number is in `changed_step` come from another seed. */
struct reading {
	struct store_view *view;
	uint64_t seed, other, next;
	size_t step;
};

static int read_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	uint8_t page[PAGE_BYTES], expected[PAGE_BYTES];
	struct reading *reading = arg;
	page_no bad;

	for (size_t k = 0; k < n; k++, reading->next++) {
		uint64_t i = index + k - BASE;

		assert_int_equal(i, reading->next);
		if (i % 7 == 6)
			memset(expected, 0, PAGE_BYTES);
		else
			scratch_page(i % reading->step == 0 ? reading->other : reading->seed, i,
				     expected);
		assert_int_equal(store_read_pages(reading->view, numbers + k, 1, page, &bad), R_OK);
		assert_memory_equal(page, expected, PAGE_BYTES);
	}
	return 0;
}

static void read_changed(struct store_view *view, uint64_t generation, uint64_t seed,
			 uint64_t other, size_t step)
{
	struct reading reading = { view, seed, other, 0, step };
	struct object object;

	assert_int_equal(store_object(view, generation, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, read_run, &reading), 0);
	assert_int_equal(reading.next, PAGES);
}

static void check_changed(struct store *store, uint64_t generation, uint64_t seed, uint64_t other,
			  size_t step)
{
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	read_changed(view, generation, seed, other, step);
	store_view_close(view);
}

static const uint64_t one = 1;

/* Every other page dies: nearly their whole share of the disk comes back. */
static void returns_what_is_dead(void **state)
{
	const struct gc_options keep = { .max_unused_percent = 60 }, options = { 0 };
	struct store *store = scratch_open(*state);
	struct gc_result result;
	uint64_t before, alone;

	take_changed(store, 1, 1, 1);
	alone = scratch_stats(store).bytes_packs;
	take_changed(store, 1, 2, 2);
	before = scratch_stats(store).bytes_packs;
	/* Half of the first pack is dead: less than is allowed. */
	assert_int_equal(gc_forget(store, &one, 1, &keep, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	assert_in_range(result.bytes_unused, alone * 40 / 100, alone * 55 / 100);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	/* Less than a block of one segment. */
	assert_in_range(result.bytes_unused, 0, 4096);
	assert_int_equal(result.bytes_pending, 0);
	assert_in_range(result.bytes_rewritten, 1, alone * 60 / 100);
	assert_true(scratch_stats(store).bytes_packs < before - alone * 45 / 100);
	assert_int_equal(scratch_stats(store).bytes_condemned, 0);
	scratch_verify_whole(store, 1);
	check_changed(store, 2, 1, 2, 2);
	/* Nothing is left to do. */
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten + result.bytes_freed, 0);
	/* What lives is found by hash where it is now, what died is not. */
	assert_int_equal(take_changed(store, 1, 2, 2).pages_new, 0);
	assert_true(take_changed(store, 1, 1, 1).pages_new > PAGES / 3);
	scratch_verify_whole(store, 3);
	store_close(store);
}

/* A view that is older than the copies reads on at the old places, which are freed after it. */
static void old_views_read_on(void **state)
{
	const struct gc_options options = { 0 };
	struct store *store = scratch_open(*state);
	struct store_view *view, *between;
	struct gc_result result;
	uint64_t before;

	take_changed(store, 1, 1, 1);
	take_changed(store, 1, 2, 2);
	before = scratch_stats(store).bytes_packs;
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	/* It could still refer to what is dead, so nothing is copied yet. */
	assert_int_equal(result.bytes_rewritten, 0);
	assert_true(result.bytes_pending > 0);
	read_changed(view, 1, 1, 1, 1);
	assert_int_equal(store_view_open(store, &between), R_OK);
	store_view_close(view);
	/* This one sees the segments condemned, and not yet replaced. */
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	assert_true(result.bytes_pending > 0);
	read_changed(between, 2, 1, 2, 2);
	store_view_close(between);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	assert_int_equal(result.bytes_pending, 0);
	assert_true(scratch_stats(store).bytes_packs < before * 80 / 100);
	scratch_verify_whole(store, 1);
	check_changed(store, 2, 1, 2, 2);
	store_close(store);
}

/* A take that began before its pages died in a segment that lives on refers to them. */
static void early_take_keeps_dead_pages(void **state)
{
	const struct gc_options options = { 0 };
	struct generation gen = { .root_pid = 1, .time_ns = 7 };
	struct store *store = scratch_open(*state);
	struct object_writer *writer;
	struct gc_result result;
	struct ingest *early;
	uint8_t page[PAGE_BYTES];

	take_changed(store, 1, 1, 1);
	take_changed(store, 1, 2, 2);
	assert_int_equal(ingest_begin(store, "b", &early), R_OK);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_int_equal(object_begin(early, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < PAGES; i += 2) {
		if (i % 7 == 6)
			continue;
		scratch_page(1, i, page); /* all of them are dead by now */
		assert_int_equal(object_pages(writer, BASE + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, 0), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	assert_int_equal(ingest_commit(early, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		assert_int_equal(result.bytes_pending, 0);
		scratch_verify_whole(store, 2);
		check_changed(store, 2, 1, 2, 2);
	}
	store_close(store);
}

static bool all_strong(struct store *store)
{
	struct reap_segment segment;
	struct store_view *view;
	page_no next = 0;
	bool all = true;

	assert_int_equal(store_view_open(store, &view), R_OK);
	while (reap_segment_next(view, next, &segment) == R_OK) {
		all &= (segment.record.flags & SEGMENT_STRONG) != 0;
		next = segment.record.first + 1;
	}
	store_view_close(view);
	return all;
}

/* Everything is compressed strongly, once; a bound divides the work among runs. */
static void recompresses(void **state)
{
	struct gc_options options = { .recompress = true, .max_unused_percent = 100 };
	const struct gc_options plain = { 0 };
	struct store *store = scratch_open(*state);
	uint64_t before, written = 0;
	struct gc_result result;
	int runs = 0;

	take_changed(store, 1, 2, 3);
	before = scratch_stats(store).bytes_packs;
	options.max_rewrite_bytes = before / 4;
	for (;; runs++) {
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		if (result.bytes_rewritten == 0)
			break;
		written += result.bytes_rewritten;
		assert_true(result.bytes_rewritten < before / 2);
		scratch_verify_whole(store, 1);
	}
	assert_in_range(runs, 3, 6);
	assert_in_range(written, before * 8 / 10, before * 11 / 10);
	assert_true(scratch_stats(store).bytes_packs < before * 11 / 10);
	assert_true(all_strong(store));
	check_changed(store, 1, 1, 2, 3);
	/* And what is strong stays so when it is compacted. */
	take_changed(store, 1, 1, 1);
	assert_int_equal(gc_forget(store, &one, 1, &plain, &result), R_OK);
	options.max_rewrite_bytes = 0;
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_rewritten, 0);
	assert_true(all_strong(store));
	scratch_verify_whole(store, 1);
	check_changed(store, 2, 1, 1, 1);
	store_close(store);
}

static void put_pages(struct ingest *ingest, uint64_t seed, size_t n)
{
	struct object_writer *writer;
	uint8_t page[PAGE_BYTES];

	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	for (size_t i = 0; i < n; i++) {
		scratch_page(seed, i, page);
		assert_int_equal(object_pages(writer, i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, n * PAGE_BYTES), R_OK);
}

static bool ranges_overlap(struct store *store)
{
	struct reap_segment segment;
	struct store_view *view;
	page_no next = 0, last = 0;
	bool overlap = false;

	assert_int_equal(store_view_open(store, &view), R_OK);
	while (reap_segment_next(view, next, &segment) == R_OK) {
		overlap |= segment.record.first <= last;
		last = segment.record.last;
		next = segment.record.first + 1;
	}
	store_view_close(view);
	return overlap;
}

/* The numbers between two segments may belong to a take that is at work: no copy spans them. */
static void leaves_gaps_to_takes(void **state)
{
	const struct gc_options options = { .recompress = true };
	struct store *store = scratch_open(*state);
	struct generation gen = { .root_pid = 1 };
	struct ingest *first, *second, *third;
	struct gc_result result;

	assert_int_equal(ingest_begin(store, "a", &first), R_OK);
	assert_int_equal(ingest_begin(store, "b", &second), R_OK);
	assert_int_equal(ingest_begin(store, "c", &third), R_OK);
	put_pages(first, 1, 20);
	put_pages(second, 2, 20);
	put_pages(third, 3, 20);
	assert_int_equal(ingest_commit(first, &gen), R_OK);
	assert_int_equal(ingest_commit(third, &gen), R_OK);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	assert_int_equal(ingest_commit(second, &gen), R_OK);
	assert_false(ranges_overlap(store));
	scratch_verify_whole(store, 3);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_false(ranges_overlap(store));
	scratch_verify_whole(store, 3);
	store_close(store);
}

/* Spoils a few pages in the middle of the largest pack. */
static void damage_a_pack(const char *dir)
{
	char path[600], largest[600] = "";
	struct dirent *entry;
	off_t size = 0;
	struct stat st;
	uint8_t bytes[4096];
	DIR *packs;
	int fd;

	snprintf(path, sizeof(path), "%s/packs", dir);
	packs = opendir(path);
	assert_non_null(packs);
	while ((entry = readdir(packs))) {
		snprintf(path, sizeof(path), "%s/packs/%s", dir, entry->d_name);
		if (entry->d_name[0] == '.' || stat(path, &st) || st.st_size <= size)
			continue;
		size = st.st_size;
		strcpy(largest, path);
	}
	closedir(packs);
	fd = open(largest, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), size / 2), sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] ^= 0x40;
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), size / 2), sizeof(bytes));
	close(fd);
}

/* A segment that cannot be read whole stays where it is; its neighbours are copied. */
static void leaves_damage_alone(void **state)
{
	const struct gc_options options = { 0 };
	struct store_verify_result before, after;
	struct store *store = scratch_open(*state);
	struct gc_result result;

	take_changed(store, 1, 1, 1);
	take_changed(store, 1, 2, 2);
	damage_a_pack(*state);
	assert_int_equal(
	    gc_forget(store, &one, 1, &(struct gc_options){ .max_unused_percent = 100 }, &result),
	    R_OK);
	assert_int_equal(scratch_verify(store, &before), R_DAMAGED);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
		if (i == 0)
			assert_true(result.bytes_rewritten > 0);
		assert_int_equal(scratch_verify(store, &after), R_DAMAGED);
		assert_int_equal(after.damaged, before.damaged);
		assert_int_equal(after.pages, before.pages);
	}
	store_close(store);
}

static int takes(const char *dir, void *arg)
{
	uint64_t lineage = *(uint64_t *)arg;
	struct generation gen;
	struct store *store;
	char name[16];

	snprintf(name, sizeof(name), "l%lu", (unsigned long)lineage);
	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	for (uint64_t i = 0; i < 25; i++)
		if (scratch_take_changed(store, name, i / 4, 40 + i, 2 + (i + lineage) % 5, 600,
					 &gen) != R_OK)
			return 2;
	store_close(store);
	return 0;
}

static int collects(const char *dir, void *arg)
{
	struct gc_options options = { .recompress = *(uint64_t *)arg % 2 };
	struct store *store;

	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	for (int i = 0; i < 40; i++) {
		if (scratch_gc(store, 2, &options) != R_OK)
			return 2;
		usleep(3000);
	}
	store_close(store);
	return 0;
}

static int start(int (*fn)(const char *dir, void *arg), const char *dir, uint64_t arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(dir, &arg));
	return pid;
}

/* Two takers and two collectors at once, one of which recompresses. */
static void all_at_once(void **state)
{
	const struct gc_options options = { 0 };
	struct store *store = scratch_open(*state);
	struct gc_result result;
	pid_t pids[4];

	store_close(store);
	for (uint64_t i = 0; i < 2; i++) {
		pids[i] = start(takes, *state, i);
		pids[2 + i] = start(collects, *state, i);
	}
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(scratch_wait(pids[i]), 0);
	store = scratch_open(*state);
	assert_false(ranges_overlap(store));
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(result.bytes_pending, 0);
	assert_true(result.bytes_unused < scratch_stats(store).segments * 4096);
	assert_false(ranges_overlap(store));
	scratch_verify_whole(store, scratch_stats(store).generations);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(returns_what_is_dead, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(old_views_read_on, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(early_take_keeps_dead_pages, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(recompresses, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(leaves_gaps_to_takes, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(leaves_damage_alone, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(all_at_once, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
