/* Where a file holds data: by every means, on this machine's file systems. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/falloc.h>

#include "base/result.h"
#include "engine/proc/fds/extents.h"

#define PAGE 4096u
#define FRAGMENTS 5000u

static const char *const folders[] = { "/tmp", "/dev/shm" };

static int open_file(const char *folder)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/snap-extents.XXXXXX", folder);
	fd = mkstemp(path);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void expect(int fd, uint64_t size, const struct extent *want, size_t n)
{
	for (int means = EXTENTS_FIEMAP; means <= EXTENTS_SEEK; means++) {
		for (int flush = 0; flush < 2; flush++) {
			struct extents extents;

			assert_int_equal(
			    extents_find(fd, size, (enum extents_means)means, flush, &extents),
			    R_OK);
			assert_int_equal(extents.n_data, n);
			for (size_t i = 0; i < n; i++) {
				assert_int_equal(extents.data[i].start, want[i].start);
				assert_int_equal(extents.data[i].end, want[i].end);
			}
			extents_free(&extents);
		}
	}
}

static void put(int fd, uint64_t at, size_t len)
{
	static char bytes[4 * PAGE];

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
}

static void test_few(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct extent want[] = { { 0, PAGE },
					       { 3ull << 20, (3ull << 20) + 2 * PAGE },
					       { 7ull << 20, (7ull << 20) + 100 } };
		int fd = open_file(folders[i]);

		if (fd < 0)
			continue;
		expect(fd, 0, NULL, 0);
		put(fd, 0, PAGE);
		put(fd, 3u << 20, 2 * PAGE);
		put(fd, 7u << 20, 100);
		expect(fd, (7u << 20) + 100, want, 3);
		close(fd);
	}
}

/* More than one question to the file system. */
static void test_many(void **state)
{
	static struct extent want[FRAGMENTS];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = open_file(folders[i]);

		if (fd < 0)
			continue;
		for (uint32_t k = 0; k < FRAGMENTS; k++) {
			want[k] = (struct extent){ 2ull * k * PAGE, (2ull * k + 1) * PAGE };
			put(fd, want[k].start, PAGE);
		}
		expect(fd, want[FRAGMENTS - 1].end, want, FRAGMENTS);
		close(fd);
	}
}

static void test_reserved(void **state)
{
	const struct extent want[] = { { 2 * PAGE, 3 * PAGE } };
	struct extents extents;
	int fd = open_file("/tmp");

	(void)state;
	if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 16 * PAGE) != 0 ||
	    ftruncate(fd, 8 * PAGE) != 0)
		skip();
	/* Written into what is only reserved, and not on the disk yet. */
	put(fd, 2 * PAGE, PAGE);
	assert_int_equal(extents_find(fd, 8 * PAGE, EXTENTS_FIEMAP, false, &extents), R_OK);
	if (extents.means == EXTENTS_FIEMAP) {
		assert_int_equal(extents.n_data, 1);
		assert_int_equal(extents.data[0].start, 2 * PAGE);
		assert_true(extents.n_reserved > 0);
		assert_int_equal(extents.reserved[extents.n_reserved - 1].end, 16 * PAGE);
	}
	extents_free(&extents);
	expect(fd, 8 * PAGE, want, 1);
	close(fd);
}

/* /proc has neither FIEMAP nor holes. */
static void test_nothing(void **state)
{
	struct extents extents;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(extents_find(fd, 10000, EXTENTS_FIEMAP, false, &extents), R_OK);
	assert_int_equal(extents.means, EXTENTS_NOTHING);
	assert_int_equal(extents.n_data, 1);
	assert_int_equal(extents.data[0].end, 10000);
	extents_free(&extents);
	close(fd);
}

struct page_case {
	struct extent data[3];
	size_t n_data;
	uint64_t size;
	struct extent runs[3];
	size_t n_runs;
	struct partial_page partial[4];
	size_t n_partial;
};

static void test_pages(void **state)
{
	static const struct page_case cases[] = {
		/* whole pages, and the end of the file within one */
		{ { { 0, PAGE }, { 2 * PAGE, 3 * PAGE + 5 } },
		  2,
		  3 * PAGE + 5,
		  { { 0, 1 }, { 2, 4 } },
		  2,
		  { { 0 } },
		  0 },
		/* two blocks of 1 KiB in one page */
		{ { { 0, 1024 }, { 2048, 3072 } },
		  2,
		  2 * PAGE,
		  { { 0, 1 } },
		  1,
		  { { 0, 0x33 } },
		  1 },
		/* from the middle of a page into another */
		{ { { 1024, 2 * PAGE + 512 } },
		  1,
		  9 * PAGE,
		  { { 0, 3 } },
		  1,
		  { { 0, 0xfc }, { 2, 0x01 } },
		  2 },
		/* the first part of the last page is missing, what is behind the end is not */
		{ { { 1024, 1500 } }, 1, 1500, { { 0, 1 } }, 1, { { 0, 0xfc } }, 1 },
		/* a hole up to the end */
		{ { { 0, 1024 } }, 1, 1500, { { 0, 1 } }, 1, { { 0, 0x03 } }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct page_case *c = &cases[i];
		struct extents extents = { .data = (struct extent *)c->data, .n_data = c->n_data };
		struct extent *runs;
		struct partial_page *partial;
		size_t n_runs, n_partial;

		assert_int_equal(
		    extents_pages(&extents, c->size, &runs, &n_runs, &partial, &n_partial), R_OK);
		assert_int_equal(n_runs, c->n_runs);
		assert_memory_equal(runs, c->runs, n_runs * sizeof(*runs));
		assert_int_equal(n_partial, c->n_partial);
		for (size_t k = 0; k < n_partial; k++) {
			assert_int_equal(partial[k].index, c->partial[k].index);
			assert_int_equal(partial[k].sectors, c->partial[k].sectors);
		}
		free(runs);
		free(partial);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few),	 cmocka_unit_test(test_many),
		cmocka_unit_test(test_reserved), cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
