/*
 * Many pages at once: restore and verify.  Rounds of bounded memory; in each, the clusters that its
 * pages and their bases lie in are unpacked once each, then the pages made of them, both by all
 * processors.  The order of numbers is the order of packs, or nearly so.
 */
#include "base/crew.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/page.h"
#include "store/segment_cache.h"

#include <stdlib.h>
#include <string.h>

/* A round ends with the first page behind one of these. */
#define ROUND_BYTES ((size_t)16 << 20)	  /* of clusters that had to be unpacked */
#define CLUSTERS_BYTES ((size_t)32 << 20) /* kept from round to round */
#define ROUND_PAGES 4096u
#define ROUND_LINKS (ROUND_PAGES * 4)
#define BUCKETS 4096u
#define PIECE_PAGES 32u
#define FETCH_AHEAD 2u /* pages */

struct wanted {
	page_no number;
	size_t at; /* in the caller's buffer */
};

/* A cluster of this round. */
struct part {
	struct cluster_place place;
	struct cluster *cluster;
	bool own; /* unpacked in this round, not in the cache yet */
	int result;
	uint32_t chained; /* 1 + the next one in the same bucket */
};

/* One page of a chain: where it lies. */
struct link {
	uint32_t part;
	uint16_t at;
};

struct page_plan {
	uint32_t first, n; /* links, from the page itself down to a full one; 0: it is damaged */
	size_t at;
	uint8_t hash[HASH_BYTES];
	int result;
};

struct bulk {
	struct crew *crew;
	struct unpacker *unpackers[CREW_MAX];
	const uint8_t *secret;
	uint8_t *to;
	size_t n_pages, n_links, n_parts, bytes, round_bytes;
	struct page_plan pages[ROUND_PAGES];
	struct link links[ROUND_LINKS + CHAIN_MAX + 1];
	struct part parts[ROUND_LINKS + CHAIN_MAX + 1];
	uint32_t buckets[BUCKETS]; /* 1 + a part */
};

void bulk_free(struct bulk *bulk)
{
	if (!bulk)
		return;
	crew_free(bulk->crew);
	for (size_t i = 0; i < CREW_MAX; i++)
		unpacker_free(bulk->unpackers[i]);
	free(bulk);
}

static struct bulk *bulk_of(struct store_view *view)
{
	struct bulk *bulk = view->cache->bulk;
	bool whole;

	if (bulk)
		return bulk;
	bulk = calloc(1, sizeof(*bulk));
	if (!bulk)
		goto err0;
	bulk->secret = view->store->secret;
	bulk->crew = crew_new(view->one_of > 1 ? 1 : CREW_MAX);
	bulk->round_bytes = view->one_of > 1 ? ROUND_BYTES / view->one_of : ROUND_BYTES;
	whole = bulk->crew != NULL;
	for (unsigned int i = 0; whole && i < crew_size(bulk->crew); i++)
		whole = (bulk->unpackers[i] = unpacker_new()) != NULL;
	if (!whole)
		goto err0;
	view->cache->bulk = bulk;
	if (view->one_of > 1)
		view->cache->slots_max = SEGMENT_SLOTS / 2;
	/* Of several readers side by side each needs about the clusters that one would: one or two
	 * of every generation. */
	cluster_cache_resize(view->cache->clusters,
			     view->one_of > 2 ? CLUSTERS_BYTES / 2 : CLUSTERS_BYTES);
	return bulk;

err0:
	bulk_free(bulk);
	warn("out of memory");
	return NULL;
}

static size_t unpacked_bytes(const struct segment_cluster *cluster)
{
	/* Differences are half as long as pages at most. */
	return (size_t)cluster->pages * PAGE_BYTES / (codec_is_delta(cluster->codec) ? 2 : 1);
}

/* The part that is the page's cluster, made if it is new in this round. */
static int find_part(struct store_view *view, const struct segment *segment, uint32_t index,
		     uint32_t *found)
{
	struct bulk *bulk = view->cache->bulk;
	page_no first = segment->record.first;
	uint32_t *bucket = &bulk->buckets[(first / 16 + index) % BUCKETS];
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
	part->cluster = cluster_cache_find(view->cache->clusters, first, index);
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
	part->result = R_OK;
	part->chained = *bucket;
	*found = (uint32_t)bulk->n_parts++;
	*bucket = *found + 1;
	return R_OK;
}

/* Finds out where the page and its bases lie.  R_BUSY: not in this round. */
static int plan_page(struct store_view *view, const struct wanted *wanted)
{
	struct bulk *bulk = view->cache->bulk;
	struct page_plan *page = &bulk->pages[bulk->n_pages];
	page_no number = wanted->number;
	size_t n_links = bulk->n_links;
	const struct segment *segment;
	uint32_t place;
	int result;

	page->at = wanted->at;
	page->first = (uint32_t)n_links;
	page->result = R_OK;
	do {
		struct link *link = &bulk->links[n_links];

		result = n_links - page->first > CHAIN_MAX
			     ? R_DAMAGED
			     : view_segment(view, number, &segment, &place);
		if (result == R_OK)
			result =
			    find_part(view, segment, segment->pages[place].cluster, &link->part);
		if (result != R_OK)
			break;
		if (n_links == page->first)
			memcpy(page->hash, segment_hash(segment, place), HASH_BYTES);
		link->at = segment->pages[place].at;
		n_links++;
		number = segment->pages[place].base;
	} while (number != PAGE_ABSENT);
	if (result == R_DAMAGED)
		page->result = R_DAMAGED;
	else if (result != R_OK)
		return result;
	page->n = (uint32_t)(n_links - page->first);
	bulk->n_links = n_links;
	bulk->n_pages++;
	return R_OK;
}

static void unpack_part(size_t i, unsigned int worker, void *arg)
{
	struct bulk *bulk = arg;
	struct part *part = &bulk->parts[i];

	if (part->own)
		part->result = cluster_read(bulk->unpackers[worker], &part->place, &part->cluster);
}

static int make_page(const struct bulk *bulk, const struct page_plan *page)
{
	const struct link *link = &bulk->links[page->first + page->n];
	uint8_t *to = bulk->to + page->at * PAGE_BYTES, hash[HASH_BYTES];

	for (uint32_t i = 0; i < page->n; i++) {
		const struct part *part = &bulk->parts[(--link)->part];

		if (part->result != R_OK)
			return part->result;
		if (!part->cluster->whole)
			return R_DAMAGED;
		if (i == 0)
			memcpy(to, cluster_page(part->cluster, link->at), PAGE_BYTES);
		else
			cluster_apply(part->cluster, link->at, to);
	}
	page_hash(bulk->secret, to, hash);
	return memcmp(hash, page->hash, HASH_BYTES) == 0 ? R_OK : R_DAMAGED;
}

/* Has what a page is made of on its way to the processor: it lies here and there in many MiB. */
static void fetch_ahead(const struct bulk *bulk, const struct page_plan *page)
{
	const struct link *link = &bulk->links[page->first];

	for (uint32_t i = 0; i < page->n; i++, link++) {
		const struct part *part = &bulk->parts[link->part];

		if (part->result == R_OK && part->cluster->whole)
			cluster_fetch_ahead(part->cluster, link->at);
	}
}

static void make_pages(size_t piece, unsigned int worker, void *arg)
{
	struct bulk *bulk = arg;
	size_t end = (piece + 1) * PIECE_PAGES;

	(void)worker;
	for (size_t i = piece * PIECE_PAGES; i < end && i < bulk->n_pages; i++) {
		if (i + FETCH_AHEAD < bulk->n_pages)
			fetch_ahead(bulk, &bulk->pages[i + FETCH_AHEAD]);
		if (bulk->pages[i].result == R_OK)
			bulk->pages[i].result = make_page(bulk, &bulk->pages[i]);
	}
}

static void begin_round(struct bulk *bulk)
{
	bulk->n_pages = bulk->n_links = bulk->n_parts = bulk->bytes = 0;
	memset(bulk->buckets, 0, sizeof(bulk->buckets));
}

/* Forgets what was planned. */
static void drop_round(struct bulk *bulk)
{
	for (size_t i = 0; i < bulk->n_parts; i++)
		if (bulk->parts[i].own)
			cluster_free(bulk->parts[i].cluster);
	begin_round(bulk);
}

/* Reads the planned pages; the clusters go to the cache after that.  `*bad` becomes the place in
 * the buffer of a damaged one if that is lower. */
static int do_round(struct store_view *view, size_t *bad)
{
	struct bulk *bulk = view->cache->bulk;
	int result = R_OK;

	crew_run(bulk->crew, bulk->n_parts, unpack_part, bulk);
	crew_run(bulk->crew, (bulk->n_pages + PIECE_PAGES - 1) / PIECE_PAGES, make_pages, bulk);
	for (size_t i = 0; i < bulk->n_pages; i++) {
		if (bulk->pages[i].result == R_FAILED)
			result = R_FAILED;
		else if (bulk->pages[i].result != R_OK && bulk->pages[i].at < *bad)
			*bad = bulk->pages[i].at;
	}
	for (size_t i = 0; i < bulk->n_parts; i++)
		if (bulk->parts[i].own && bulk->parts[i].result == R_OK)
			cluster_cache_put(view->cache->clusters, bulk->parts[i].cluster);
	begin_round(bulk);
	view->cache->packs_held = false;
	return result;
}

/* A page whose own chain needs more packs than can be open at once. */
static int read_alone(struct store_view *view, const struct wanted *wanted, size_t *bad)
{
	struct bulk *bulk = view->cache->bulk;
	const uint8_t *page;
	int result;

	drop_round(bulk);
	view->cache->packs_held = false;
	result = view_page(view, wanted->number, &page);
	if (result == R_OK)
		memcpy(bulk->to + wanted->at * PAGE_BYTES, page, PAGE_BYTES);
	if (result == R_DAMAGED && wanted->at < *bad)
		*bad = wanted->at;
	return result == R_DAMAGED ? R_OK : result;
}

static bool round_full(const struct bulk *bulk)
{
	return bulk->n_pages == ROUND_PAGES || bulk->n_links >= ROUND_LINKS ||
	       bulk->bytes >= bulk->round_bytes;
}

static int read_wanted(struct store_view *view, const struct wanted *wanted, size_t n, size_t *bad)
{
	struct bulk *bulk = bulk_of(view);
	int result = R_OK;

	if (!bulk)
		return R_FAILED;
	begin_round(bulk);
	for (size_t i = 0; result == R_OK && i < n; i++) {
		result = plan_page(view, &wanted[i]);
		if (result == R_BUSY) {
			result = do_round(view, bad);
			if (result == R_OK)
				result = plan_page(view, &wanted[i]);
			if (result == R_BUSY)
				result = read_alone(view, &wanted[i], bad);
		}
		if (result == R_OK && round_full(bulk))
			result = do_round(view, bad);
	}
	if (result == R_OK)
		result = do_round(view, bad);
	else
		drop_round(bulk);
	view->cache->packs_held = false;
	return result;
}

static int by_number(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

void store_view_one_of(struct store_view *view, unsigned int n)
{
	view->one_of = n;
}

int store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
		     page_no *bad)
{
	struct wanted *wanted;
	size_t n_wanted = 0, worst = n;
	bool sorted = true;
	int result;

	if (n == 1) {
		const uint8_t *page;

		result = view_page(view, *numbers, &page);
		*bad = *numbers;
		if (result == R_OK)
			memcpy(buf, page, PAGE_BYTES);
		return result;
	}
	wanted = malloc((n + 1) * sizeof(*wanted));
	if (!wanted) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] <= PAGE_ZERO) {
			memset((uint8_t *)buf + i * PAGE_BYTES, 0, PAGE_BYTES);
			continue;
		}
		sorted &= n_wanted == 0 || wanted[n_wanted - 1].number <= numbers[i];
		wanted[n_wanted++] = (struct wanted){ numbers[i], i };
	}
	if (!sorted)
		qsort(wanted, n_wanted, sizeof(*wanted), by_number);
	result = R_OK;
	if (n_wanted > 0) {
		if (bulk_of(view))
			view->cache->bulk->to = buf;
		result = read_wanted(view, wanted, n_wanted, &worst);
	}
	free(wanted);
	if (result == R_OK && worst < n) {
		*bad = numbers[worst];
		result = R_DAMAGED;
	}
	return result;
}
