#include "store/segment_read.h"

#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"
#include "store/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define PACK_SLOTS 16
#define SEGMENT_SLOTS 512 /* 6 KiB each when filled: headers of 512 MiB of pages */
#define CLUSTER_SLOTS 64  /* 4 MiB */

static const uint8_t zero_page[PAGE_BYTES];

struct cluster_slot {
	page_no first; /* of its segment; 0: empty */
	uint32_t cluster;
	uint32_t whole;
	uint8_t *pages;
};

struct pack_slot {
	uint64_t pack;
	int fd; /* -1: empty */
};

struct segment_cache {
	struct segment segments[SEGMENT_SLOTS]; /* placed by number / SEGMENT_PAGES */
	struct cluster_slot clusters[CLUSTER_SLOTS];
	struct pack_slot packs[PACK_SLOTS];
};

static const uint8_t *page_entry(const struct segment *segment, uint32_t place)
{
	return segment->header + SEGMENT_HEAD_BYTES + (size_t)place * SEGMENT_PAGE_BYTES;
}

static const uint8_t *cluster_entry(const struct segment *segment, uint32_t cluster)
{
	return segment->header + SEGMENT_HEAD_BYTES +
	       (size_t)segment->record.pages * SEGMENT_PAGE_BYTES +
	       (size_t)cluster * SEGMENT_CLUSTER_BYTES;
}

page_no segment_number(const struct segment *segment, uint32_t place)
{
	return get_le64(page_entry(segment, place));
}

const uint8_t *segment_hash(const struct segment *segment, uint32_t place)
{
	return page_entry(segment, place) + 8;
}

int segment_find(const struct segment *segment, page_no number)
{
	uint32_t low = 0, high = segment->record.pages;

	/* Without gaps, as takes write them, the place is known. */
	if (number >= segment->record.first && number - segment->record.first < high &&
	    segment_number(segment, (uint32_t)(number - segment->record.first)) == number)
		return (int)(number - segment->record.first);
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		page_no there = segment_number(segment, middle);

		if (there == number)
			return (int)middle;
		if (there < number)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

void segment_cluster_size(const struct segment *segment, uint32_t place, uint32_t *bytes,
			  uint32_t *pages)
{
	const uint8_t *entry = cluster_entry(segment, place / CLUSTER_PAGES);

	*bytes = get_le32(entry + 4);
	*pages = entry[9];
}

/* Everything later code relies on without looking again. */
static bool header_sane(const struct segment *segment)
{
	const struct segment_record *record = &segment->record;
	const uint8_t *head = segment->header;

	if (memcmp(head, SEGMENT_MAGIC, 8) != 0 || get_le16(head + 8) != record->pages ||
	    get_le16(head + 10) != segment->clusters ||
	    get_le32(head + 12) != record->header_bytes ||
	    get_le32(head + 16) != record->body_bytes)
		return false;
	for (uint32_t i = 0; i < segment->clusters; i++) {
		const uint8_t *entry = cluster_entry(segment, i);
		uint64_t end = (uint64_t)get_le32(entry) + get_le32(entry + 4);
		uint32_t pages = record->pages - i * CLUSTER_PAGES;

		if (end > record->body_bytes || get_le32(entry + 4) > CLUSTER_BYTES ||
		    entry[9] != (pages < CLUSTER_PAGES ? pages : CLUSTER_PAGES))
			return false;
	}
	return segment_number(segment, 0) == record->first &&
	       segment_number(segment, record->pages - 1) == record->last;
}

int segment_load(const uint8_t *secret, int fd, const struct segment_record *record,
		 struct segment *segment)
{
	uint32_t clusters = (record->pages + CLUSTER_PAGES - 1) / CLUSTER_PAGES;
	uint32_t body = record->header_bytes - 8;
	uint64_t checksum;
	int result;

	if (record->pages == 0 || record->pages > SEGMENT_PAGES ||
	    record->header_bytes != SEGMENT_HEAD_BYTES + record->pages * SEGMENT_PAGE_BYTES +
					clusters * SEGMENT_CLUSTER_BYTES + 8)
		return R_DAMAGED;
	segment->record = *record;
	segment->clusters = clusters;
	segment->header = malloc(record->header_bytes);
	if (!segment->header) {
		warn("out of memory");
		return R_FAILED;
	}
	result = io_pread_all(fd, segment->header, record->header_bytes, (off_t)record->offset);
	if (result == R_FAILED) {
		if (errno == EIO)
			result = R_DAMAGED;
		else
			warn_errno("cannot read pack %016lx", (unsigned long)record->pack);
	} else if (result == R_NOT_FOUND) {
		result = R_DAMAGED;
	} else {
		checksum = header_checksum(secret, segment->header, body);
		if (checksum != record->checksum || checksum != get_le64(segment->header + body) ||
		    !header_sane(segment))
			result = R_DAMAGED;
	}
	if (result != R_OK)
		segment_free(segment);
	return result;
}

void segment_free(struct segment *segment)
{
	free(segment->header);
	memset(segment, 0, sizeof(*segment));
}

/* False: the stored bytes cannot be had or make no whole cluster. */
static bool unpack(uint8_t codec, const uint8_t *stored, uint32_t len, uint8_t *pages,
		   size_t wanted)
{
	if (codec == CODEC_RAW && len == wanted) {
		memcpy(pages, stored, len);
		return true;
	}
	return codec == CODEC_ZSTD && ZSTD_decompress(pages, wanted, stored, len) == wanted;
}

int segment_read_cluster(const uint8_t *secret, int fd, const struct segment *segment,
			 uint32_t cluster, uint8_t *pages, uint32_t *whole)
{
	const uint8_t *entry = cluster_entry(segment, cluster);
	uint32_t len = get_le32(entry + 4), count = entry[9];
	off_t offset =
	    (off_t)(segment->record.offset + segment->record.header_bytes + get_le32(entry));
	uint8_t stored[CLUSTER_BYTES], hash[HASH_BYTES];
	int result;

	*whole = 0;
	result = io_pread_all(fd, stored, len, offset);
	if (result == R_FAILED && errno != EIO) {
		warn_errno("cannot read pack %016lx", (unsigned long)segment->record.pack);
		return R_FAILED;
	}
	if (result != R_OK || !unpack(entry[8], stored, len, pages, (size_t)count * PAGE_BYTES))
		return R_OK;
	for (uint32_t i = 0; i < count; i++) {
		page_hash(secret, pages + (size_t)i * PAGE_BYTES, hash);
		if (memcmp(hash, segment_hash(segment, cluster * CLUSTER_PAGES + i), HASH_BYTES) ==
		    0)
			*whole |= 1u << i;
	}
	return R_OK;
}

struct segment_cache *segment_cache_new(void)
{
	struct segment_cache *cache = calloc(1, sizeof(*cache));

	for (size_t i = 0; cache && i < PACK_SLOTS; i++)
		cache->packs[i].fd = -1;
	return cache;
}

void segment_cache_free(struct segment_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < SEGMENT_SLOTS; i++)
		free(cache->segments[i].header);
	for (size_t i = 0; i < CLUSTER_SLOTS; i++)
		free(cache->clusters[i].pages);
	for (size_t i = 0; i < PACK_SLOTS; i++)
		if (cache->packs[i].fd >= 0)
			close(cache->packs[i].fd);
	free(cache);
}

/* R_DAMAGED if the pack is gone. */
static int cached_pack(struct store_view *view, uint64_t pack, int *fd)
{
	struct pack_slot *slot = &view->cache->packs[pack % PACK_SLOTS];
	int result;

	if (slot->fd < 0 || slot->pack != pack) {
		if (slot->fd >= 0)
			close(slot->fd);
		slot->fd = -1;
		slot->pack = pack;
		result = pack_open(view->store, pack, false, &slot->fd);
		if (result != R_OK)
			return result == R_NOT_FOUND ? R_DAMAGED : result;
	}
	*fd = slot->fd;
	return R_OK;
}

static int cached_segment(struct store_view *view, page_no number, struct segment **found)
{
	struct segment *slot = &view->cache->segments[number / SEGMENT_PAGES % SEGMENT_SLOTS];
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record record;
	page_no first;
	int fd, result;

	*found = slot;
	if (slot->header && number >= slot->record.first && number <= slot->record.last)
		return R_OK;
	result = index_floor(view->txn, DB_SEGMENT, number, &first, raw, sizeof(raw));
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_DAMAGED : result;
	segment_record_decode(first, raw, &record);
	if (number > record.last)
		return R_DAMAGED;
	result = cached_pack(view, record.pack, &fd);
	if (result != R_OK)
		return result;
	segment_free(slot);
	return segment_load(view->store->secret, fd, &record, slot);
}

int view_segment(struct store_view *view, page_no number, const struct segment **segment,
		 uint32_t *place)
{
	struct segment *found;
	int at, result;

	result = cached_segment(view, number, &found);
	if (result != R_OK)
		return result;
	at = segment_find(found, number);
	if (at < 0)
		return R_DAMAGED;
	*segment = found;
	*place = (uint32_t)at;
	return R_OK;
}

int view_page_hash(struct store_view *view, page_no number, const uint8_t **hash)
{
	const struct segment *segment;
	uint32_t place;
	int result;

	result = view_segment(view, number, &segment, &place);
	if (result == R_OK)
		*hash = segment_hash(segment, place);
	return result;
}

static int fill_cluster(struct store_view *view, const struct segment *segment, uint32_t cluster,
			struct cluster_slot *slot)
{
	int fd, result;

	if (!slot->pages && !(slot->pages = malloc(CLUSTER_BYTES))) {
		warn("out of memory");
		return R_FAILED;
	}
	slot->first = 0;
	result = cached_pack(view, segment->record.pack, &fd);
	if (result != R_OK)
		return result;
	result = segment_read_cluster(view->store->secret, fd, segment, cluster, slot->pages,
				      &slot->whole);
	if (result != R_OK)
		return result;
	slot->first = segment->record.first;
	slot->cluster = cluster;
	return R_OK;
}

int view_page(struct store_view *view, page_no number, const uint8_t **page)
{
	const struct segment *segment;
	struct cluster_slot *slot;
	uint32_t place, cluster;
	int result;

	if (number == PAGE_ABSENT || number == PAGE_ZERO) {
		*page = zero_page;
		return R_OK;
	}
	result = view_segment(view, number, &segment, &place);
	if (result != R_OK)
		return result;
	cluster = place / CLUSTER_PAGES;
	slot = &view->cache
		    ->clusters[(segment->record.first / CLUSTER_PAGES + cluster) % CLUSTER_SLOTS];
	if (slot->first != segment->record.first || slot->cluster != cluster || !slot->pages) {
		result = fill_cluster(view, segment, cluster, slot);
		if (result != R_OK)
			return result;
	}
	if (!(slot->whole & 1u << place % CLUSTER_PAGES))
		return R_DAMAGED;
	*page = slot->pages + (size_t)(place % CLUSTER_PAGES) * PAGE_BYTES;
	return R_OK;
}

int store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
		     page_no *bad)
{
	uint8_t *to = buf;

	for (size_t i = 0; i < n; i++, to += PAGE_BYTES) {
		const uint8_t *page;
		int result = view_page(view, numbers[i], &page);

		if (result != R_OK) {
			*bad = numbers[i];
			return result;
		}
		memcpy(to, page, PAGE_BYTES);
	}
	return R_OK;
}
