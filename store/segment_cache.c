#include "store/segment_cache.h"

#include "base/result.h"

#include <stdlib.h>
#include <string.h>

static uint16_t *bucket_of(struct segment_cache *cache, page_no first)
{
	return &cache->buckets[(first * UINT64_C(0x9e3779b97f4a7c15) >> 32) % SEGMENT_BUCKETS];
}

static void unlink_slot(struct segment_cache *cache, uint16_t at)
{
	const struct segment_slot *slot = &cache->slots[at - 1];

	*(slot->newer ? &cache->slots[slot->newer - 1].older : &cache->newest) = slot->older;
	*(slot->older ? &cache->slots[slot->older - 1].newer : &cache->oldest) = slot->newer;
}

static void link_newest(struct segment_cache *cache, uint16_t at)
{
	struct segment_slot *slot = &cache->slots[at - 1];

	slot->newer = 0;
	slot->older = cache->newest;
	*(cache->newest ? &cache->slots[cache->newest - 1].newer : &cache->oldest) = at;
	cache->newest = at;
}

static uint16_t find(struct segment_cache *cache, page_no first)
{
	uint16_t at = *bucket_of(cache, first);

	while (at && cache->slots[at - 1].segment.record.first != first)
		at = cache->slots[at - 1].chained;
	return at;
}

/* A slot that is in no list: a new one, or that of the segment used longest ago. */
static uint16_t free_slot(struct segment_cache *cache)
{
	uint16_t at = cache->oldest, *link;

	if (cache->n_slots < cache->slots_max)
		return ++cache->n_slots;
	for (link = bucket_of(cache, cache->slots[at - 1].segment.record.first); *link != at;)
		link = &cache->slots[*link - 1].chained;
	*link = cache->slots[at - 1].chained;
	unlink_slot(cache, at);
	segment_free(&cache->slots[at - 1].segment);
	return at;
}

static int load(struct store_view *view, const struct segment_record *record, uint16_t *at)
{
	struct segment_cache *cache = view->cache;
	struct segment segment = { 0 };
	uint16_t *bucket;
	int fd, result;

	result = cached_pack(view, record->pack, &fd);
	if (result == R_OK)
		result = segment_load(view->store->secret, fd, record, &segment);
	if (result != R_OK)
		return result;
	*at = free_slot(cache);
	bucket = bucket_of(cache, record->first);
	cache->slots[*at - 1].segment = segment;
	cache->slots[*at - 1].chained = *bucket;
	*bucket = *at;
	link_newest(cache, *at);
	return R_OK;
}

static bool covers(const struct segment *segment, page_no number)
{
	return segment->header && number >= segment->record.first && number <= segment->record.last;
}

int cached_segment(struct store_view *view, page_no number, struct segment **found)
{
	struct segment_cache *cache = view->cache;
	uint16_t *hint = &cache->hints[number / 64 % SEGMENT_HINTS];
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record record;
	uint16_t at = *hint;
	page_no first;
	int result;

	if (!at || !covers(&cache->slots[at - 1].segment, number)) {
		result = index_floor(view->txn, DB_SEGMENT, number, &first, raw, sizeof(raw));
		if (result != R_OK)
			return result == R_NOT_FOUND ? R_DAMAGED : result;
		segment_record_decode(first, raw, &record);
		if (number > record.last)
			return R_DAMAGED;
		at = find(cache, first);
		result = at ? R_OK : load(view, &record, &at);
		if (result != R_OK)
			return result;
		*hint = at;
	}
	if (at != cache->newest) {
		unlink_slot(cache, at);
		link_newest(cache, at);
	}
	*found = &cache->slots[at - 1].segment;
	return R_OK;
}

void cached_segments_free(struct segment_cache *cache)
{
	for (uint16_t i = 0; i < cache->n_slots; i++)
		segment_free(&cache->slots[i].segment);
}
