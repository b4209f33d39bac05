#include "store/segment_read.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/delta.h"
#include "store/pack.h"
#include "store/page.h"
#include "store/segment_cache.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A reader that goes over a generation in order of address has one or two clusters of differences
 * of each earlier take at hand, 130 KiB each: enough for 90 takes, then they are unpacked again. */
#define CLUSTERS_BYTES ((size_t)24 << 20)

static const uint8_t zero_page[PAGE_BYTES];

struct segment_cache *segment_cache_new(void)
{
	struct segment_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	for (size_t i = 0; i < PACK_SLOTS; i++)
		cache->packs[i].fd = -1;
	cache->slots_max = SEGMENT_SLOTS;
	cache->clusters = cluster_cache_new(CLUSTERS_BYTES);
	cache->unpacker = unpacker_new();
	if (cache->clusters && cache->unpacker)
		return cache;
	segment_cache_free(cache);
	return NULL;
}

void segment_cache_free(struct segment_cache *cache)
{
	if (!cache)
		return;
	cached_segments_free(cache);
	cluster_cache_free(cache->clusters);
	cluster_cache_free(cache->full);
	unpacker_free(cache->unpacker);
	bulk_free(cache->bulk);
	for (size_t i = 0; i < PACK_SLOTS; i++)
		if (cache->packs[i].fd >= 0)
			close(cache->packs[i].fd);
	free(cache);
}

int view_keep_bases(struct store_view *view, size_t difference_bytes, size_t full_bytes)
{
	cluster_cache_resize(view->cache->clusters, difference_bytes);
	cluster_cache_free(view->cache->full);
	view->cache->full = cluster_cache_new(full_bytes);
	if (view->cache->full)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

int cached_pack(struct store_view *view, uint64_t pack, int *fd)
{
	struct pack_slot *slot = &view->cache->packs[pack % PACK_SLOTS];
	int result;

	if (slot->fd < 0 || slot->pack != pack) {
		if (view->cache->packs_held && slot->fd >= 0)
			return R_BUSY;
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

void view_begin_stretch(struct store_view *view)
{
	cluster_cache_round(view->cache->clusters, 1);
	cluster_cache_round(view->cache->full, 1);
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

int view_page_base(struct store_view *view, page_no number, page_no *base)
{
	const struct segment *segment;
	uint32_t place;
	int result;

	*base = PAGE_ABSENT;
	if (number == PAGE_ABSENT || number == PAGE_ZERO)
		return R_OK;
	result = view_segment(view, number, &segment, &place);
	if (result == R_OK)
		*base = segment_base(segment, place);
	return result;
}

/* The cluster of a place, whole; valid until the next call on the view. */
static int cached_cluster(struct store_view *view, const struct segment *segment, uint32_t place,
			  const struct cluster **found)
{
	uint32_t index = segment->pages[place].cluster;
	struct cluster_cache *cache =
	    cached_clusters(view->cache, codec_is_delta(segment->cluster[index].codec));
	struct cluster_place where;
	struct cluster *cluster;
	int fd, result;

	cluster = cluster_cache_find(cache, segment->record.first, index);
	if (!cluster) {
		result = cached_pack(view, segment->record.pack, &fd);
		if (result != R_OK)
			return result;
		where = cluster_place_of(segment, index, fd);
		result = cluster_read(view->cache->unpacker, &where, NULL, &cluster);
		if (result != R_OK)
			return result;
		cluster_cache_put(cache, cluster);
	}
	*found = cluster;
	return cluster->whole ? R_OK : R_DAMAGED;
}

static bool has_hash(const struct store_view *view, const uint8_t *page, const uint8_t *expected)
{
	uint8_t hash[HASH_BYTES];

	page_hash(view->store->secret, page, hash);
	return memcmp(hash, expected, HASH_BYTES) == 0;
}

/* Where one page on the way from a difference to the full page under it lies. */
static int fetch_link(struct store_view *view, page_no number, const struct cluster **cluster,
		      uint32_t *at, page_no *base)
{
	const struct segment *segment;
	uint32_t place;
	int result;

	result = view_segment(view, number, &segment, &place);
	if (result == R_OK)
		result = cached_cluster(view, segment, place, cluster);
	if (result != R_OK)
		return result;
	*at = segment->pages[place].at;
	*base = segment->pages[place].base;
	return R_OK;
}

/* The numbers of a page's chain, itself first, and where the full page at its end lies.  R_OK,
 * R_NOT_FOUND: there are more than `most` above that one. */
static int follow(struct store_view *view, page_no number, uint32_t most, page_no *chain,
		  uint32_t *depth, const struct cluster **cluster, uint32_t *at)
{
	page_no base;
	int result;

	for (*depth = 0;; number = base) {
		result = fetch_link(view, number, cluster, at, &base);
		if (result != R_OK)
			return result;
		if (base == PAGE_ABSENT)
			return R_OK;
		if (*depth == most)
			return R_NOT_FOUND;
		chain[(*depth)++] = number;
	}
}

/* Makes the page with this number in `page`, not verified: the end of the chain will be.  The chain
 * is followed down to the full page first, then its differences are applied on the way back. */
static int assemble(struct store_view *view, page_no number, uint8_t *page)
{
	page_no chain[CHAIN_MAX], base;
	const struct cluster *cluster;
	uint32_t depth, at;
	int result;

	result = follow(view, number, CHAIN_MAX, chain, &depth, &cluster, &at);
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_DAMAGED : result;
	memcpy(page, cluster_page(cluster, at), PAGE_BYTES);
	while (depth > 0) {
		result = fetch_link(view, chain[--depth], &cluster, &at, &base);
		if (result != R_OK)
			return result;
		cluster_apply(cluster, at, page);
	}
	return R_OK;
}

int view_page_chain(struct store_view *view, page_no number, struct page_chain *chain)
{
	page_no numbers[CHAIN_WRITTEN_MAX], base = number;
	const struct cluster *cluster;
	uint32_t depth, at;
	int result;

	result = follow(view, number, CHAIN_WRITTEN_MAX, numbers, &depth, &cluster, &at);
	if (result != R_OK)
		return result;
	memcpy(chain->pages[0], cluster_page(cluster, at), PAGE_BYTES);
	for (chain->n = 1; depth > 0; chain->n++) {
		uint8_t *page = chain->pages[chain->n];

		number = numbers[--depth];
		result = fetch_link(view, number, &cluster, &at, &base);
		if (result != R_OK)
			return result;
		chain->numbers[chain->n - 1] = base;
		memcpy(page, page - PAGE_BYTES, PAGE_BYTES);
		cluster_apply(cluster, at, page);
	}
	chain->numbers[chain->n - 1] = number;
	return R_OK;
}

int view_check_page(struct store_view *view, page_no number, const uint8_t *bytes)
{
	const uint8_t *expected;
	int result = view_page_hash(view, number, &expected);

	if (result == R_OK && !has_hash(view, bytes, expected))
		result = R_DAMAGED;
	return result;
}

void view_check_sums(struct store_view *view)
{
	unpacker_check_sums(view->cache->unpacker, view->store->secret);
}

int view_page_difference(struct store_view *view, page_no number, uint8_t *difference)
{
	const struct segment *segment;
	const struct cluster *cluster;
	const uint8_t *from;
	uint32_t place, words;
	int result;

	result = view_segment(view, number, &segment, &place);
	if (result != R_OK)
		return result;
	if (segment->pages[place].base == PAGE_ABSENT ||
	    !segment->cluster[segment->pages[place].cluster].has_sum)
		return R_NOT_FOUND;
	result = cached_cluster(view, segment, place, &cluster);
	if (result != R_OK)
		return result;
	from = cluster_words(cluster, segment->pages[place].at, &words);
	cluster_differs(cluster, segment->pages[place].at, difference);
	if (words > DELTA_WORDS_MAX || words != delta_bitmap_count(difference))
		return R_NOT_FOUND; /* nobody writes such */
	memcpy(difference + DELTA_BITMAP_BYTES, from, 8 * (size_t)words);
	return R_OK;
}

int segment_read_page(struct store_view *view, const struct segment *segment, uint32_t place,
		      const struct cluster *cluster, uint8_t *page)
{
	page_no base = segment->pages[place].base;
	uint32_t at = segment->pages[place].at;
	int result;

	if (!cluster->whole)
		return R_DAMAGED;
	if (base == PAGE_ABSENT) {
		memcpy(page, cluster_page(cluster, at), PAGE_BYTES);
	} else {
		result = assemble(view, base, page);
		if (result != R_OK)
			return result;
		cluster_apply(cluster, at, page);
	}
	return has_hash(view, page, segment_hash(segment, place)) ? R_OK : R_DAMAGED;
}

int view_page(struct store_view *view, page_no number, const uint8_t **page)
{
	uint8_t expected[HASH_BYTES];
	const struct segment *segment;
	const struct cluster *cluster;
	uint32_t place;
	int result;

	*page = zero_page;
	if (number == PAGE_ABSENT || number == PAGE_ZERO)
		return R_OK;
	result = view_segment(view, number, &segment, &place);
	if (result != R_OK)
		return result;
	/* The segment may leave the cache while bases are looked up. */
	memcpy(expected, segment_hash(segment, place), HASH_BYTES);
	if (segment->pages[place].base == PAGE_ABSENT) {
		result = cached_cluster(view, segment, place, &cluster);
		if (result == R_OK)
			*page = cluster_page(cluster, segment->pages[place].at);
	} else {
		result = assemble(view, number, view->cache->page);
		*page = view->cache->page;
	}
	if (result != R_OK)
		return result;
	return has_hash(view, *page, expected) ? R_OK : R_DAMAGED;
}
