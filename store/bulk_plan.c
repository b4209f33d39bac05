/*
 * Finding out, for a round of many pages, which clusters they and their bases lie in.
 */
#include "base/result.h"
#include "store/bulk_internal.h"

#include <string.h>

#define LINE_BYTES 64u

static size_t unpacked_bytes(const struct segment_cluster *cluster)
{
	/* Differences are half as long as pages at most. */
	return (size_t)cluster->pages * PAGE_BYTES / (codec_is_delta(cluster->codec) ? 2 : 1);
}

/* Segments begin at about equal distances, so they would meet in a few buckets. */
static uint32_t *bucket_of(struct bulk *bulk, page_no first, uint32_t index)
{
	return &bulk->buckets[((first + index) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % BUCKETS];
}

/* The part that is the page's cluster, made if it is new in this round. */
static int find_part(struct store_view *view, const struct segment *segment, uint32_t index,
		     uint32_t *found)
{
	struct bulk *bulk = view->cache->bulk;
	page_no first = segment->record.first;
	uint32_t *bucket = bucket_of(bulk, first, index);
	struct part *part;
	int fd = -1, result;

	for (uint32_t i = *bucket; i; i = bulk->parts[i - 1].chained) {
		if (bulk->parts[i - 1].place.first == first &&
		    bulk->parts[i - 1].place.index == index) {
			*found = i - 1;
			return R_OK;
		}
	}
	part = &bulk->parts[bulk->n_parts];
	part->cluster = cluster_cache_find(
	    cached_clusters(view->cache, codec_is_delta(segment->cluster[index].codec)), first,
	    index);
	part->own = !part->cluster;
	if (part->own) {
		result = cached_pack(view, segment->record.pack, &fd);
		if (result != R_OK)
			return result;
		/* What the round will read from stays open until it has. */
		view->cache->packs_held = true;
		bulk->bytes += unpacked_bytes(&segment->cluster[index]);
	}
	part->place = cluster_place_of(segment, index, fd);
	part->to = NULL;
	part->result = R_OK;
	part->n_links = 0;
	part->chained = *bucket;
	*found = (uint32_t)bulk->n_parts++;
	*bucket = *found + 1;
	return R_OK;
}

size_t bulk_find(const void *sorted, size_t n, size_t size, page_no number)
{
	size_t low = 0, high = n;
	page_no there = PAGE_ABSENT;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		memcpy(&there, (const uint8_t *)sorted + mid * size, sizeof(there));
		if (there < number)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < n)
		memcpy(&there, (const uint8_t *)sorted + low * size, sizeof(there));
	return low < n && there == number ? low : SIZE_MAX;
}

/* 1 + the page of this round that has the number; 0: there is none. */
static uint32_t planned(const struct bulk *bulk, page_no number)
{
	return (uint32_t)(bulk_find(bulk->pages, bulk->n_pages, sizeof(bulk->pages[0]), number) +
			  1);
}

/* Pages are mostly wanted in the order of a segment, but others' segments come between: what is
 * told of the next ones of this will be asked for when it is long out of the processor's sight. */
static void fetch_next(const struct segment *segment, uint32_t place, bool hash)
{
	__builtin_prefetch((const uint8_t *)&segment->pages[place] + LINE_BYTES);
	if (hash)
		__builtin_prefetch(segment_hash(segment, place) + LINE_BYTES);
}

/* The page itself or one below it.  Gives the number of what it differs from. */
static int plan_link(struct store_view *view, struct page_plan *page, size_t n_links,
		     page_no *number)
{
	struct link *link = &view->cache->bulk->links[n_links];
	const struct segment *segment;
	uint32_t place;
	int result = view_segment(view, *number, &segment, &place);

	if (result == R_OK)
		result = find_part(view, segment, segment->pages[place].cluster, &link->part);
	if (result != R_OK)
		return result;
	if (n_links == page->first) {
		memcpy(page->hash, segment_hash(segment, place), HASH_BYTES);
		page->base = segment->pages[place].base;
	}
	view->cache->bulk->parts[link->part].n_links++;
	fetch_next(segment, place, n_links == page->first);
	link->at = segment->pages[place].at;
	*number = segment->pages[place].base;
	return R_OK;
}

int bulk_plan_page(struct store_view *view, const struct wanted *wanted)
{
	struct bulk *bulk = view->cache->bulk;
	struct page_plan *page = &bulk->pages[bulk->n_pages];
	page_no number = wanted->number;
	size_t n_links = bulk->n_links;
	int result = R_OK;

	*page =
	    (struct page_plan){ .number = number, .at = wanted->at, .first = (uint32_t)n_links };
	while (result == R_OK && number != PAGE_ABSENT && !page->parent) {
		if (page->depth++ > CHAIN_MAX)
			result = R_DAMAGED;
		else
			result = plan_link(view, page, n_links, &number);
		if (result != R_OK)
			break;
		n_links++;
		if (bulk->visit && number != PAGE_ABSENT)
			page->parent = planned(bulk, number);
	}
	if (page->parent)
		page->depth += bulk->pages[page->parent - 1].depth;
	if (result == R_OK && page->depth > CHAIN_MAX + 1)
		result = R_DAMAGED;
	if (result == R_DAMAGED)
		page->result = R_DAMAGED;
	else if (result != R_OK)
		return result;
	page->n = (uint32_t)(n_links - page->first);
	bulk->n_links = n_links;
	bulk->n_pages++;
	return R_OK;
}

/* Where the full page lies that this one is made of, or is. */
static const struct link *bottom(const struct bulk *bulk, const struct page_plan *page)
{
	return &bulk->links[page->first + page->n - 1];
}

/*
 * Whether all that is wanted of a cluster of full pages is wanted at places that follow each other
 * as its pages do, from place `i` of the round on; and the places between are those of pages that
 * are made later, of what comes behind it.
 */
static bool fits_there(const struct bulk *bulk, size_t i, uint32_t part)
{
	const struct part *parts = bulk->parts;
	uint32_t n = parts[part].place.cluster.pages, n_wanted = 0;

	if (bulk->n_pages - i < n)
		return false;
	for (uint32_t k = 0; k < n; k++) {
		const struct page_plan *page = &bulk->pages[i + k];

		if (page->result != R_OK || page->at != bulk->pages[i].at + k)
			return false;
		if (bottom(bulk, page)->part != part) {
			if (!part_is_before(&parts[part], &parts[bottom(bulk, page)->part]))
				return false;
		} else if (bottom(bulk, page)->at == k) {
			n_wanted++;
		}
	}
	return n_wanted == parts[part].n_links;
}

void bulk_plan_places(struct bulk *bulk)
{
	for (size_t i = 0; i < bulk->n_pages; i++) {
		const struct page_plan *page = &bulk->pages[i];
		const struct link *link;
		struct part *part;

		if (page->result != R_OK)
			continue;
		link = bottom(bulk, page);
		part = &bulk->parts[link->part];
		if (part->own && !part->to && link->at <= i &&
		    !codec_is_delta(part->place.cluster.codec) &&
		    fits_there(bulk, i - link->at, link->part))
			part->to = bulk->to + bulk->pages[i - link->at].at * PAGE_BYTES;
	}
}
