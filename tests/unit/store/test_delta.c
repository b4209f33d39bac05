/* Pages stored as differences: every generation reads as it was taken, whatever became of others.
 */
#include "versions.h"

#include "base/result.h"
#include "gc/gc.h"
#include "store/segment_read.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES VERSION_PAGES
#define FIRST VERSION_FIRST

/* Each generation costs little, and reads back, with chains that end. */
static void chains(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_verify_result verified;
	struct generation gen;
	uint64_t first_bytes = 0;
	bool deep = false;

	for (uint64_t time = 0; time < 21; time++) {
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		if (time == 0)
			first_bytes = gen.bytes_stored;
		/* When its chain is long enough, a page is stored in full again. */
		else if (time % (CHAIN_WRITTEN_MAX + 1) != 0)
			assert_true(gen.bytes_stored < first_bytes / 3);
	}
	for (uint64_t time = 0; time < 21; time++) {
		struct reading reading = read_back(store, time + 1, time);

		assert_int_equal(reading.damaged, 0);
		assert_true(reading.deepest <= CHAIN_WRITTEN_MAX);
		deep |= reading.deepest == CHAIN_WRITTEN_MAX;
		if (time % (CHAIN_WRITTEN_MAX + 1) != 0) {
			assert_true(reading.deltas > PAGES / 4);
			assert_true(reading.codecs >> CODEC_DELTA_RUNS & 1);
		}
	}
	assert_true(deep);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* Where a few words change each time, most of the changes are written again and again, so that no
 * page has a long chain, nor has to be stored in full at the end of one. */
static void short_chains(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;
	uint64_t full = 0;

	versions.words = 2;
	for (uint64_t time = 0; time < 40; time++) {
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		if (time == 0)
			full = gen.bytes_stored;
		else
			assert_true(gen.bytes_stored < full / 8);
	}
	for (uint64_t time = 0; time < 40; time += 13) {
		struct reading reading = read_back(store, time + 1, time);

		assert_int_equal(reading.damaged, 0);
		assert_in_range(reading.deepest, time > 0, 1 + time / 6);
	}
	versions.words = 14;
	store_close(store);
}

/* A store of an older format is read and written as such: nothing in it is new. */
static void older_format(const char *dir, unsigned int version, enum codec codec)
{
	struct store *store = scratch_open(dir);
	struct store_verify_result verified;
	struct generation gen;
	bool rebuilt;
	char path[300];
	uint8_t header[12];
	int fd;

	store_close(store);
	scratch_make_older(dir, version);
	store = scratch_open(dir);
	for (uint64_t time = 0; time < 4; time++) {
		struct reading reading;

		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		reading = read_back(store, time + 1, time);
		assert_int_equal(reading.damaged, 0);
		assert_int_equal(reading.codecs >> codec >> 1, 0);
		assert_true(time == 0 || reading.codecs >> codec & 1);
	}
	store_close(store);
	snprintf(path, sizeof(path), "%s/packs/%016x.pack", dir, 4);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, header, sizeof(header)), sizeof(header));
	assert_int_equal(header[8], version);
	close(fd);
	/* The copy of its index is one as well. */
	snprintf(path, sizeof(path), "%s/index/data.mdb", dir);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(store_repair_index(dir, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(dir);
	assert_int_equal(store->version, version);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 4);
	store_close(store);
}

static void format_2(void **state)
{
	older_format(*state, 2, CODEC_DELTA_ZSTD);
}

static void format_5(void **state)
{
	older_format(*state, 5, CODEC_DELTA_LZ4);
}

struct seen {
	uint64_t by_base, direct;
};

static void see(const struct store_damage *damage, void *arg)
{
	struct seen *seen = arg;

	assert_string_equal(damage->object, "pages-1");
	assert_true(damage->index >= FIRST && damage->index < FIRST + PAGES);
	if (strstr(damage->reason, "difference"))
		seen->by_base++;
	else
		seen->direct++;
}

/* A damaged base damages its differences, which says so; the next take stores them in full. */
static void damaged_base(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_verify_options options = { .data = true, .damage = see };
	struct store_verify_result verified;
	struct seen seen = { 0 };
	struct store_view *view;
	struct generation gen;
	struct reading one, two;

	if (HASH_BITS < 128) {
		store_close(store);
		skip(); /* a hash that short does not find all damage */
	}
	assert_int_equal(put_at(store, "a", 1, &gen), R_OK);
	assert_int_equal(put_at(store, "a", 2, &gen), R_OK);
	/* In the body of the first segment of data. */
	damage_pack(*state, 1, 64 + 4500 + 20000, 2000);
	one = read_back(store, 1, 1);
	two = read_back(store, 2, 2);
	assert_in_range(one.damaged, 1, 32);
	assert_in_range(two.damaged, 1, one.damaged);
	options.arg = &seen;
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_verify(view, &options, &verified), R_DAMAGED);
	store_view_close(view);
	assert_true(seen.by_base > 0);
	assert_int_equal(seen.by_base + seen.direct, one.damaged + two.damaged);
	/* All that changed is whole again; what did not is only known by its hash. */
	assert_int_equal(put_at(store, "a", 3, &gen), R_OK);
	assert_int_equal(read_back(store, 3, 3).damaged, two.damaged - seen.by_base);
	store_close(store);
}

/* Turns the order of some. */
static void turn(struct numbers *all, size_t at, size_t end)
{
	for (; at < --end; at++) {
		page_no number = all->list[at];
		uint64_t index = all->index[at];

		all->list[at] = all->list[end];
		all->index[at] = all->index[end];
		all->list[end] = number;
		all->index[end] = index;
	}
}

/* What the pages of generation 11 are, zeroes among them, and behind these those of the first one.
 */
static void check_pages(const struct numbers *all, size_t n, const uint8_t *pages)
{
	uint64_t expected[512];

	for (size_t i = 0; i < n; i++) {
		page_at(i < 2 * PAGES ? 10 : 0, all->index[i], expected);
		if (all->list[i] == PAGE_ZERO)
			memset(expected, 0, sizeof(expected));
		assert_memory_equal(pages + i * PAGE_BYTES, expected, PAGE_BYTES);
	}
}

/* All pages of a generation in one call, first in order, then in any, some twice, zeroes among
 * them; and a damaged one is named while the others are right. */
static void many_at_once(void **state)
{
	struct store *store = scratch_open(*state);
	struct numbers *all = calloc(1, sizeof(*all));
	uint8_t *pages = malloc(sizeof(all->list) / sizeof(all->list[0]) * PAGE_BYTES);
	struct store_view *view;
	struct generation gen;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	for (uint64_t time = 0; time < 11; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	gather(store, 11, all);
	all->n = 2 * PAGES;
	gather(store, 1, all);
	turn(all, 2 * PAGES, 3 * PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		size_t other = i * 577 % PAGES;

		all->list[PAGES + i] = i % 50 ? all->list[other] : PAGE_ZERO;
		all->index[PAGES + i] = all->index[other];
	}
	for (unsigned int readers = 1; readers <= 2; readers++) {
		for (size_t n = PAGES; n <= 3 * PAGES; n += PAGES) {
			assert_int_equal(read_as_one_of(store, readers, all, n, pages, &bad), R_OK);
			check_pages(all, n, pages);
		}
	}
	if (HASH_BITS == 128) /* a hash that is short does not find all damage */
		damage_pack(*state, 1, 64 + 4500 + 20000, 2000);
	for (unsigned int readers = 1; HASH_BITS == 128 && readers <= 2; readers++) {
		size_t whole = 0;

		assert_int_equal(read_as_one_of(store, readers, all, PAGES, pages, &bad),
				 R_DAMAGED);
		while (all->list[whole] != bad)
			assert_in_range(++whole, 1, PAGES - 1);
		check_pages(all, whole, pages);
		assert_int_equal(store_view_open(store, &view), R_OK);
		assert_int_equal(store_read_pages(view, &bad, 1, pages, &bad), R_DAMAGED);
		store_view_close(view);
	}
	free(pages);
	free(all);
	store_close(store);
}

/* Every other page is what it was at first again: clusters of two generations, of which every other
 * page is needed, at the same places.  Each page is where it belongs. */
static void back_to_the_first(void **state)
{
	struct store *store = scratch_open(*state);
	struct numbers *all = calloc(1, sizeof(*all));
	uint8_t *pages = malloc(PAGES * (size_t)PAGE_BYTES);
	uint64_t expected[512];
	struct generation gen;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	versions.renewed = 1;
	for (uint64_t time = 1; time < 3; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	versions.behind = 1;
	assert_int_equal(put_at(store, "a", 2, &gen), R_OK);
	assert_true(gen.pages_new < PAGES / 10);
	gather(store, 3, all);
	assert_int_equal(all->n, PAGES);
	for (unsigned int readers = 1; readers <= 2; readers++) {
		assert_int_equal(read_as_one_of(store, readers, all, PAGES, pages, &bad), R_OK);
		for (size_t i = 0; i < PAGES; i++) {
			page_at(2, i, expected);
			assert_memory_equal(pages + i * PAGE_BYTES, expected, PAGE_BYTES);
		}
	}
	versions.renewed = 31;
	versions.behind = 0;
	free(pages);
	free(all);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(short_chains, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(chains, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(format_2, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(format_5, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(damaged_base, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(many_at_once, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(back_to_the_first, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
