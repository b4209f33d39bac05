#include "store/segment_read.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/segment_cache.h"
#include "store/pack.h"
#include "store/page.h"

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
	cluster_cache_round(view->cache->clusters);
	cluster_cache_round(view->cache->full);
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
	struct cluster_cache *cache = view->cache->clusters;
	uint32_t index = segment->pages[place].cluster;
	struct cluster_place where;
	struct cluster *cluster;
	int fd, result;

	if (view->cache->full && !codec_is_delta(segment->cluster[index].codec))
		cache = view->cache->full;
	cluster = cluster_cache_find(cache, segment->record.first, index);
	if (!cluster) {
		result = cached_pack(view, segment->record.pack, &fd);
		if (result != R_OK)
			return result;
		where = cluster_place_of(segment, index, fd);
		result = cluster_read(view->cache->unpacker, &where, &cluster);
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

/* Makes the page with this number in `page`, not verified: the end of the chain will be.  The chain
 * is followed down to the full page first, then its differences are applied on the way back. */
static int assemble(struct store_view *view, page_no number, uint8_t *page, uint32_t *depth_out)
{
	page_no chain[CHAIN_MAX], base;
	const struct cluster *cluster;
	uint32_t depth = 0, at;
	int result;

	for (;;) {
		result = fetch_link(view, number, &cluster, &at, &base);
		if (result != R_OK)
			return result;
		if (base == PAGE_ABSENT)
			break;
		if (depth == CHAIN_MAX)
			return R_DAMAGED;
		chain[depth++] = number;
		number = base;
	}
	*depth_out = depth;
	memcpy(page, cluster_page(cluster, at), PAGE_BYTES);
	while (depth > 0) {
		result = fetch_link(view, chain[--depth], &cluster, &at, &base);
		if (result != R_OK)
			return result;
		cluster_apply(cluster, at, page);
	}
	return R_OK;
}

int segment_read_page(struct store_view *view, const struct segment *segment, uint32_t place,
		      const struct cluster *cluster, uint8_t *page)
{
	page_no base = segment->pages[place].base;
	uint32_t at = segment->pages[place].at, depth;
	int result;

	if (!cluster->whole)
		return R_DAMAGED;
	if (base == PAGE_ABSENT) {
		memcpy(page, cluster_page(cluster, at), PAGE_BYTES);
	} else {
		result = assemble(view, base, page, &depth);
		if (result != R_OK)
			return result;
		cluster_apply(cluster, at, page);
	}
	return has_hash(view, page, segment_hash(segment, place)) ? R_OK : R_DAMAGED;
}

int view_base_page(struct store_view *view, page_no number, const uint8_t **page, uint32_t *depth)
{
	uint8_t expected[HASH_BYTES];
	const struct segment *segment;
	const struct cluster *cluster;
	uint32_t place;
	int result;

	*depth = 0;
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
		result = assemble(view, number, view->cache->page, depth);
		*page = view->cache->page;
	}
	if (result != R_OK)
		return result;
	return has_hash(view, *page, expected) ? R_OK : R_DAMAGED;
}

int view_page(struct store_view *view, page_no number, const uint8_t **page)
{
	uint32_t depth;

	return view_base_page(view, number, page, &depth);
}
