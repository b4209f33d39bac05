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

#define FIRST VERSION_FIRST

struct versions versions = { .words = 14, .pages = VERSION_PAGES, .renewed = 31 };

void page_at(uint64_t time, uint64_t i, uint64_t *page)
{
	if (i % versions.renewed == 0) {
		scratch_page(time - (i % 2 ? versions.behind : 0) + 50, i, page);
		return;
	}
	scratch_page(7, i, page);
	for (uint64_t t = 1; i % 3 == 0 && t <= time; t++)
		for (uint64_t w = 0; w < versions.words; w++)
			page[(t * 83 + i + w) % 512] = t * 1000003 + i;
}

int put_at(struct store *store, const char *lineage, uint64_t time, struct generation *gen)
{
	struct object_writer *writer;
	struct ingest *ingest;
	uint64_t page[512];

	memset(gen, 0, sizeof(*gen));
	assert_int_equal(ingest_begin(store, lineage, &ingest), R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	for (uint64_t i = 0; i < versions.pages; i++) {
		page_at(time, i, page);
		assert_int_equal(object_pages(writer, FIRST + i, page, 1), R_OK);
	}
	assert_int_equal(object_end(writer, (FIRST + versions.pages) * PAGE_BYTES), R_OK);
	return ingest_commit(ingest, gen);
}

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

struct reading read_back(struct store *store, uint64_t generation, uint64_t time)
{
	struct reading reading = { .time = time };
	struct object object;

	assert_int_equal(store_view_open(store, &reading.view), R_OK);
	assert_int_equal(store_object(reading.view, generation, "pages-1", &object), R_OK);
	assert_int_equal(
	    store_object_walk(reading.view, &object, 0, UINT64_MAX, read_run, &reading), 0);
	assert_int_equal(reading.n, versions.pages);
	store_view_close(reading.view);
	return reading;
}

static int gather_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct numbers *all = arg;

	for (size_t i = 0; i < n; i++) {
		all->index[all->n] = index + i - FIRST;
		all->list[all->n++] = numbers[i];
	}
	return 0;
}

void gather(struct store *store, uint64_t generation, struct numbers *all)
{
	struct store_view *view;
	struct object object;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, generation, "pages-1", &object), R_OK);
	assert_int_equal(store_object_walk(view, &object, 0, UINT64_MAX, gather_run, all), 0);
	store_view_close(view);
}

int read_as_one_of(struct store *store, unsigned int readers, const struct numbers *all, size_t n,
		   uint8_t *pages, page_no *bad)
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

void damage_pack(const char *dir, unsigned int pack, off_t from, size_t len)
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
