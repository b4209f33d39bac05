/* Pages stored as differences: every generation reads as it was taken, whatever became of others.
 */
#include "scratch.h"

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

#define PAGES 700
#define FIRST 1000ull

static uint64_t words = 14; /* of each that changes: too many to be written again with others */
static uint64_t n_pages = PAGES;
static uint64_t renewed = 31; /* of so many one is another each time, */
static uint64_t behind;	      /* every other of these as it was so much earlier */

/* Page `i` as it is at `time`: every third changes each time, every 31st altogether. */
static void page_at(uint64_t time, uint64_t i, uint64_t *page)
{
	if (i % renewed == 0) {
		scratch_page(time - (i % 2 ? behind : 0) + 50, i, page);
		return;
	}
	scratch_page(7, i, page);
	for (uint64_t t = 1; i % 3 == 0 && t <= time; t++)
		for (uint64_t w = 0; w < words; w++)
			page[(t * 83 + i + w) % 512] = t * 1000003 + i;
}

static int put_at(struct store *store, const char *lineage, uint64_t time, struct generation *gen)
{
	struct object_writer *writer;
	struct ingest *ingest;
	uint64_t page[512];

	memset(gen, 0, sizeof(*gen));
	assert_int_equal(ingest_begin(store, lineage, &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < n_pages; i++) {
		page_at(time, i, page);
		assert_int_equal(object_pages(writer, FIRST + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, (FIRST + n_pages) * PAGE_BYTES), R_OK);
	return ingest_commit(ingest, gen);
}

struct reading {
	struct store_view *view;
	uint64_t time, n, damaged;
	uint32_t deepest;
	uint64_t deltas;
	unsigned int codecs; /* bit 1 << codec of each cluster that one of the pages lies in */
};

static int read_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct reading *reading = arg;

	for (size_t i = 0; i < n; i++, reading->n++) {
		uint64_t page[512], expected[512];
		uint32_t depth = 0;
		const struct segment *segment;
		page_no bad, base;
		uint32_t place;
		int result = store_read_pages(reading->view, numbers + i, 1, page, &bad);

		if (result == R_DAMAGED) {
			reading->damaged++;
			continue;
		}
		assert_int_equal(result, R_OK);
		page_at(reading->time, index + i - FIRST, expected);
		assert_memory_equal(page, expected, PAGE_BYTES);
		assert_int_equal(view_segment(reading->view, numbers[i], &segment, &place), R_OK);
		reading->codecs |= 1u << segment->cluster[segment->pages[place].cluster].codec;
		for (page_no at = numbers[i];; at = base, depth++) {
			assert_int_equal(view_page_base(reading->view, at, &base), R_OK);
			if (base == PAGE_ABSENT)
				break;
			assert_true(base < at);
		}
		reading->deltas += depth > 0;
		if (depth > reading->deepest)
			reading->deepest = depth;
	}
	return 0;
}

/* Reads the whole generation and compares it with what `time` was. */
static struct reading read_back(struct store *store, uint64_t generation, uint64_t time)
{
	struct reading reading = { .time = time };
	struct object object;

	assert_int_equal(store_view_open(store, &reading.view), R_OK);
	assert_int_equal(store_object(reading.view, generation, "pages-1", &object), R_OK);
	assert_int_equal(
	    store_object_walk(reading.view, &object, 0, UINT64_MAX, read_run, &reading), 0);
	assert_int_equal(reading.n, n_pages);
	store_view_close(reading.view);
	return reading;
}

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
			assert_true(reading.codecs >> CODEC_DELTA_LZ4 & 1);
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

	words = 2;
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
	words = 14;
	store_close(store);
}

/* A store of format 2 is read and written as such: nothing in it is new. */
static void format_2(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_verify_result verified;
	struct generation gen;
	bool rebuilt;
	char path[300];
	uint8_t header[12];
	int fd;

	store_close(store);
	scratch_make_older(*state, 2);
	store = scratch_open(*state);
	for (uint64_t time = 0; time < 4; time++) {
		struct reading reading;

		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		reading = read_back(store, time + 1, time);
		assert_int_equal(reading.damaged, 0);
		assert_int_equal(reading.codecs >> CODEC_DELTA_LZ4, 0);
		assert_true(time == 0 || reading.codecs >> CODEC_DELTA_ZSTD & 1);
	}
	store_close(store);
	snprintf(path, sizeof(path), "%s/packs/%016x.pack", (char *)*state, 4);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, header, sizeof(header)), sizeof(header));
	assert_int_equal(header[8], 2);
	close(fd);
	/* The copy of its index is one as well. */
	snprintf(path, sizeof(path), "%s/index/data.mdb", (char *)*state);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	assert_int_equal(store->version, 2);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 4);
	store_close(store);
}

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

static void damage_pack(const char *dir, unsigned int pack, off_t from, size_t len)
{
	uint8_t noise[4096];
	char path[300];
	int fd;

	memset(noise, 0xa5, sizeof(noise));
	snprintf(path, sizeof(path), "%s/packs/%016x.pack", dir, pack);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, noise, len, from), (ssize_t)len);
	close(fd);
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

struct numbers {
	page_no list[3 * PAGES];
	uint64_t index[3 * PAGES];
	size_t n;
};

static int gather(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct numbers *all = arg;

	for (size_t i = 0; i < n; i++) {
		all->index[all->n] = index + i - FIRST;
		all->list[all->n++] = numbers[i];
	}
	return 0;
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

/* Reads the first `n` by one of so many readers: as one of several it is alone, and does all by
 * itself. */
static int read_as_one_of(struct store *store, unsigned int readers, const struct numbers *all,
			  size_t n, uint8_t *pages, page_no *bad)
{
	struct store_view *view;
	int result;

	assert_int_equal(store_view_open(store, &view), R_OK);
	store_view_one_of(view, readers);
	memset(pages, 0xa5, n * PAGE_BYTES);
	result = store_read_pages(view, all->list, n, pages, bad);
	store_view_close(view);
	return result;
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
	struct object object;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	for (uint64_t time = 0; time < 11; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 11, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, gather, all), 0);
	all->n = 2 * PAGES;
	assert_int_equal(store_object(view, 1, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, gather, all), 0);
	store_view_close(view);
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
	struct object object;
	uint64_t expected[512];
	size_t together;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	n_pages = 150;
	renewed = 2;
	words = 100; /* some of which the version before has changed, too */
	for (uint64_t time = 0; time < 8; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	assert_int_equal(gc_forget(store, gone, 6, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 8, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, gather, all), 0);
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
	n_pages = PAGES;
	renewed = 31;
	words = 14;
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
	renewed = 2;
	for (uint64_t time = 1; time < 5; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	damage_pack(dir, 1, 64 + 4500 + 20000, 2000);
	before = read_back(store, 4, 4).damaged;
	assert_in_range(before, 1, 32);
	assert_int_equal(gc_forget(store, gone, 2, &options, &result), R_OK);
	assert_true(result.bytes_rewritten > 0);
	assert_int_equal(read_back(store, 4, 4).damaged, before);
	renewed = 31;
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
	renewed = 2;
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
	renewed = 31;
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
	struct store_view *view;
	struct generation gen;
	struct object object;
	page_no bad;

	assert_non_null(all);
	assert_non_null(pages);
	renewed = 1;
	for (uint64_t time = 1; time < 3; time++)
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
	behind = 1;
	assert_int_equal(put_at(store, "a", 2, &gen), R_OK);
	assert_true(gen.pages_new < PAGES / 10);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, 3, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, gather, all), 0);
	store_view_close(view);
	assert_int_equal(all->n, PAGES);
	for (unsigned int readers = 1; readers <= 2; readers++) {
		assert_int_equal(read_as_one_of(store, readers, all, PAGES, pages, &bad), R_OK);
		for (size_t i = 0; i < PAGES; i++) {
			page_at(2, i, expected);
			assert_memory_equal(pages + i * PAGE_BYTES, expected, PAGE_BYTES);
		}
	}
	renewed = 31;
	behind = 0;
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
		cmocka_unit_test_setup_teardown(gc_keeps_bases, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(dead_over_condemned, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(damaged_base, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(many_at_once, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(versions_in_one_cluster, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(back_to_the_first, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(moves_over_damage, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(leaves_damaged_differences, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
