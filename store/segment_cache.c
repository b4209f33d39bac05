#include "store/segment_cache.h"

#include "base/result.h"

#include <stdlib.h>
#include <string.h>

static uint64_t spread(uint64_t key)
{
	return key * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

static uint16_t *bucket_of(struct segment_cache *cache, page_no first)
{
	return &cache->buckets[spread(first) % SEGMENT_BUCKETS];
}

/* Generations of one target have their numbers at about equal distances, and pages that are near
 * each other in the target are at the same place of each: so these must not meet in one hint. */
static uint16_t *hint_of(struct segment_cache *cache, page_no number)
{
	return &cache->hints[spread(number / HINT_PAGES) % SEGMENT_HINTS];
}

static uint16_t find(struct segment_cache *cache, page_no first)
{
	uint16_t at = *bucket_of(cache, first);

	while (at && cache->slots[at - 1].segment.record.first != first)
		at = cache->slots[at - 1].chained;
	return at;
}

/* A slot whose segment was not asked for since the hand came by last; all others get another turn.
 */
static uint16_t idle_slot(struct segment_cache *cache)
{
	for (;;) {
		struct segment_slot *slot;

		cache->hand = (uint16_t)(cache->hand % cache->n_slots + 1);
		slot = &cache->slots[cache->hand - 1];
		if (!slot->used)
			return cache->hand;
		slot->used = false;
	}
}

/* A slot that is in no bucket: a new one, or one whose segment is given up, but not its memory. */
static uint16_t free_slot(struct segment_cache *cache)
{
	uint16_t at, *link;

	if (cache->n_slots < cache->slots_max)
		return ++cache->n_slots;
	at = idle_slot(cache);
	for (link = bucket_of(cache, cache->slots[at - 1].segment.record.first);
	     *link && *link != at;)
		link = &cache->slots[*link - 1].chained;
	if (*link)
		*link = cache->slots[at - 1].chained;
	return at;
}

static int load(struct store_view *view, const struct segment_record *record, uint16_t *at)
{
	struct segment_cache *cache = view->cache;
	struct segment_slot *slot;
	uint16_t *bucket;
	int fd, result;

	result = cached_pack(view, record->pack, &fd);
	if (result != R_OK)
		return result;
	*at = free_slot(cache);
	slot = &cache->slots[*at - 1];
	/* A slot whose segment could not be loaded has none and is in no bucket. */
	result = segment_reload(view->store->secret, fd, record, &slot->segment);
	if (result != R_OK)
		return result;
	bucket = bucket_of(cache, record->first);
	slot->chained = *bucket;
	*bucket = *at;
	/* As takes write them; those with wide gaps are hinted at where they are asked for. */
	if (record->last - record->first < SEGMENT_PAGES)
		for (page_no number = record->first; number <= record->last; number += HINT_PAGES)
			*hint_of(cache, number) = *at;
	return R_OK;
}

static bool covers(const struct segment *segment, page_no number)
{
	return number >= segment->record.first && number <= segment->record.last;
}

/* The slot that a hint knows for the number, or 0.  Where two segments share a hint, the one
 * before or behind it knows the other. */
static uint16_t hinted(struct segment_cache *cache, page_no number)
{
	static const int64_t beside[] = { 0, -(int64_t)HINT_PAGES, HINT_PAGES };

	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		uint16_t at = *hint_of(cache, number + (page_no)beside[i]);

		if (at && covers(&cache->slots[at - 1].segment, number))
			return at;
	}
	return 0;
}

/* What tells of the page, if a hint knows its segment and there is nothing to search in that. */
static const struct segment_place *place_at_hand(struct segment_cache *cache, page_no number,
						 const struct segment **segment)
{
	uint16_t at = *hint_of(cache, number);

	if (!at)
		return NULL;
	*segment = &cache->slots[at - 1].segment;
	if (!covers(*segment, number) || (*segment)->numbers)
		return NULL;
	return &(*segment)->pages[number - (*segment)->record.first];
}

void cached_fetch_ahead(struct segment_cache *cache, page_no number, bool hash)
{
	const struct segment *segment;
	const struct segment_place *place = place_at_hand(cache, number, &segment);

	if (!place)
		return;
	__builtin_prefetch(place);
	if (hash)
		__builtin_prefetch(segment_hash(segment, (uint32_t)(place - segment->pages)));
}

page_no cached_base(struct segment_cache *cache, page_no number)
{
	const struct segment *segment;
	const struct segment_place *place = place_at_hand(cache, number, &segment);

	return place ? place->base : PAGE_ABSENT;
}

int cached_segment(struct store_view *view, page_no number, struct segment **found)
{
	struct segment_cache *cache = view->cache;
	uint16_t at = hinted(cache, number);
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record record;
	page_no first;
	int result;

	if (!at) {
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
		*hint_of(cache, number) = at;
	}
	cache->slots[at - 1].used = true;
	*found = &cache->slots[at - 1].segment;
	return R_OK;
}

struct cluster_cache *cached_clusters(const struct segment_cache *cache, bool delta)
{
	return cache->full && !delta ? cache->full : cache->clusters;
}

void cached_segments_free(struct segment_cache *cache)
{
	for (uint16_t i = 0; i < cache->n_slots; i++)
		segment_free(&cache->slots[i].segment);
}
