/* What gc leaves of pages that are stored as differences, and what it moves. */
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

/* What a difference needs stays when the generations it came from go, at every turn. */
static void gc_keeps_bases(void **state)
{
	struct store *store = scratch_open(*state);
	const struct gc_options options = { 0 };
	struct store_verify_result verified;
	struct gc_result result;
	struct generation gen;

	for (uint64_t time = 0; time < 20; time++) {
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		if (time == 0)
			continue;
		assert_int_equal(gc_forget(store, &time, 1, &options, &result), R_OK);
		assert_int_equal(result.forgotten, 1);
		assert_int_equal(read_back(store, time + 1, time).damaged, 0);
		assert_int_equal(scratch_verify(store, &verified), R_OK);
		assert_int_equal(verified.generations, 1);
	}
	store_close(store);
}

/*
 * A page that is dead itself, in a segment that lives, over a base that gc condemns: a take that
 * began after that may find it by its hash and must not build on it.
 */
static void dead_over_condemned(void **state)
{
	struct store *store = scratch_open(*state);
	const struct gc_options options = { .allow_empty = true };
	struct store_verify_result verified;
	struct store_view *holder;
	struct gc_result result;
	struct generation gen;
	struct ingest *late;
	struct object_writer *writer;
	uint64_t page[512];
	const uint64_t one = 1, two = 2;

	/* Generation 2 is made of differences to 1, and of pages that 3 shares with it: thus the
	 * segments of 2 live on, and those of 1 die. */
	assert_int_equal(put_at(store, "a", 1, &gen), R_OK);
	assert_int_equal(put_at(store, "a", 2, &gen), R_OK);
	assert_int_equal(ingest_begin(store, "b", &late), R_OK);
	assert_int_equal(object_begin(late, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < PAGES; i += 31) {
		page_at(2, i, page);
		assert_int_equal(object_pages(writer, FIRST + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, PAGES * PAGE_BYTES), R_OK);
	memset(&gen, 0, sizeof(gen));
	assert_int_equal(ingest_commit(late, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);

	/* The holder makes gc condemn without reclaiming. */
	assert_int_equal(store_view_open(store, &holder), R_OK);
	assert_int_equal(gc_forget(store, &one, 1, &options, &result), R_OK);
	assert_int_equal(gc_forget(store, &two, 1, &options, &result), R_OK);
	assert_true(result.bytes_pending > 0);
	assert_int_equal(ingest_begin(store, "c", &late), R_OK);
	store_view_close(holder);
	assert_int_equal(object_begin(late, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < PAGES; i++) {
		page_at(2, i, page);
		assert_int_equal(object_pages(writer, FIRST + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, PAGES * PAGE_BYTES), R_OK);
	/* Everything condemned goes before the commit of `late`. */
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(ingest_commit(late, &gen), R_OK);
	assert_true(gen.pages_shared > 0);
	assert_int_equal(gc_run(store, NULL, &options, &result), R_OK);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(read_back(store, gen.number, 2).damaged, 0);
	store_close(store);
}

/* Whether a page lies in one cluster with what it differs from, which `*base` becomes. */
static bool is_together(struct store_view *view, page_no number, page_no *base)
{
	const struct segment *segment;
	struct segment_place place;
	uint32_t at;
	int there;

	assert_int_equal(view_segment(view, number, &segment, &at), R_OK);
	place = segment->pages[at];
	*base = place.base;
	there = place.base == PAGE_ABSENT ? -1 : segment_find(segment, place.base);
	return there >= 0 && segment->pages[there].base != PAGE_ABSENT &&
	       segment->pages[there].cluster == place.cluster;
}

/* How often that is so on the way from the pages down to full ones. */
static size_t count_together(struct store_view *view, const struct numbers *all)
{
	size_t together = 0;

	for (size_t i = 0; i < all->n; i++)
		for (page_no at = all->list[i]; at != PAGE_ABSENT;)
			together += is_together(view, at, &at);
	return together;
}

/* Several small generations that gc has put into one segment: versions of a page lie in one
 * cluster, and are applied in their order. */
static void versions_in_one_cluster(void **state)
{
	const struct gc_options options = { 0 };
	const uint64_t gone[] = { 2, 3, 4, 5, 6, 7 };
	struct store *store = scratch_open(*state);
	struct numbers *all = calloc(1, sizeof(*all));
	uint8_t *pages = malloc(150 * (size_t)PAGE_BYTES);
	struct gc_result result;
	struct generation gen;
	struct store_view *view;
	uint64_t expected[512];
	size_t together;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	versions.pages = 150;
	versions.renewed = 2;
	versions.words = 100; /* some of which the version before has changed, too */
	for (uint64_t time = 0; time < 8; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	assert_int_equal(gc_forget(store, gone, 6, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	gather(store, 8, all);
	assert_int_equal(store_view_open(store, &view), R_OK);
	together = count_together(view, all);
	store_view_close(view);
	assert_true(together > 10);
	for (unsigned int readers = 1; readers <= 2; readers++) {
		assert_int_equal(read_as_one_of(store, readers, all, all->n, pages, &bad), R_OK);
		for (size_t i = 0; i < all->n; i++) {
			page_at(7, all->index[i], expected);
			assert_memory_equal(pages + i * PAGE_BYTES, expected, PAGE_BYTES);
		}
	}
	versions.pages = PAGES;
	versions.renewed = 31;
	versions.words = 14;
	free(pages);
	free(all);
	store_close(store);
}

/* Generations 2 and 3 go, of which only differences over a damaged page of 1 live.  What is dead
 * and not given back, in bytes. */
static uint64_t left_over_damage(const char *dir, unsigned int version)
{
	const struct gc_options options = { 0 };
	const uint64_t gone[] = { 2, 3 };
	struct store *store = scratch_open(dir);
	struct gc_result result;
	struct generation gen;
	uint64_t before;

	store_close(store);
	if (version != FORMAT_VERSION)
		scratch_make_older(dir, version);
	store = scratch_open(dir);
	versions.renewed = 2;
	for (uint64_t time = 1; time < 5; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	damage_pack(dir, 1, 64 + 4500 + 20000, 2000);
	before = read_back(store, 4, 4).damaged;
	assert_in_range(before, 1, 32);
	assert_int_equal(gc_forget(store, gone, 2, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	assert_int_equal(read_back(store, 4, 4).damaged, before);
	versions.renewed = 31;
	store_close(store);
	return result.bytes_dead_left;
}

/* What the checksum of its cluster vouches for is moved whatever became of its base. */
static void moves_over_damage(void **state)
{
	char *older;

	if (HASH_BITS < 128)
		skip(); /* a hash that short does not find all damage */
	older = scratch_make();
	assert_true(left_over_damage(*state, FORMAT_VERSION) <
		    left_over_damage(older, FORMAT_SUMS - 1));
	scratch_remove(older);
}

/* Where the differences of the segment lie that has this page: in the pack of its record. */
static struct segment_record differences_of(struct store *store, page_no number, off_t *at,
					    size_t *len)
{
	const struct segment *segment;
	const struct segment_cluster *cluster;
	struct segment_record record;
	struct store_view *view;
	uint32_t place;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(view_segment(view, number, &segment, &place), R_OK);
	cluster = &segment->cluster[segment->pages[place].cluster];
	assert_true(codec_is_delta(cluster->codec));
	record = segment->record;
	*at = (off_t)(record.offset + record.header_bytes + cluster->offset);
	*len = cluster->bytes;
	store_view_close(view);
	return record;
}

/* The first page of a generation that is a difference. */
static int find_difference(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct reading *reading = arg;

	(void)index;
	for (size_t i = 0; i < n; i++) {
		page_no base;

		assert_int_equal(view_page_base(reading->view, numbers[i], &base), R_OK);
		if (base != PAGE_ABSENT) {
			reading->n = numbers[i];
			return 1;
		}
	}
	return 0;
}

/* Damaged differences stay where they are, and are known for what they are. */
static void leaves_damaged_differences(void **state)
{
	const struct gc_options options = { 0 };
	struct store *store = scratch_open(*state);
	struct segment_record before, after;
	struct reading reading = { 0 };
	const uint64_t two = 2;
	struct gc_result result;
	struct generation gen;
	struct object object;
	uint64_t damaged;
	off_t at;
	size_t len;

	if (HASH_BITS < 128) {
		store_close(store);
		skip();
	}
	versions.renewed = 2;
	for (uint64_t time = 1; time < 4; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	assert_int_equal(store_view_open(store, &reading.view), R_OK);
	assert_int_equal(store_object(reading.view, 2, "pages-1", &object), R_OK);
	assert_int_equal(
	    store_object_walk(reading.view, &object, 0, UINT64_MAX, find_difference, &reading), 1);
	store_view_close(reading.view);
	before = differences_of(store, reading.n, &at, &len);
	/* The last bytes are words as they are, so that it can be unpacked all the same. */
	damage_pack(*state, (unsigned int)before.pack, at + (off_t)len - 5, 1);
	damaged = read_back(store, 3, 3).damaged;
	assert_in_range(damaged, 1, PAGES / 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(i ? gc_run(store, NULL, &options, &result)
				   : gc_forget(store, &two, 1, &options, &result),
				 R_OK);
		after = differences_of(store, reading.n, &at, &len);
		assert_int_equal(after.pack, before.pack);
		assert_int_equal(after.offset, before.offset);
		assert_int_equal(read_back(store, 3, 3).damaged, damaged);
	}
	versions.renewed = 31;
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gc_keeps_bases, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(dead_over_condemned, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(versions_in_one_cluster, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(moves_over_damage, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(leaves_damaged_differences, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
