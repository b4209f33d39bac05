/*
 * Many pages at once: restore and verify.  Rounds of bounded memory; in each, the clusters that its
 * pages and their bases lie in are unpacked once each, then the pages made of them, both by all
 * processors.  The order of numbers is the order of packs, or nearly so.
 */
#include "base/result.h"
#include "base/warn.h"
#include "store/bulk_internal.h"
#include "store/page.h"

#include <stdlib.h>
#include <string.h>

#define CLUSTERS_BYTES ((size_t)32 << 20) /* kept from round to round; */
#define FULL_BYTES ((size_t)8 << 20)	  /* of these, where they are kept apart, full pages */
#define PIECE_PAGES 32u
#define FETCH_AHEAD 4u /* pages */
/* Rounds for which a cluster stays that nothing was needed of.  Those of differences are some
 * five times as long, and there is one of each generation. */
#define ROUNDS_KEPT_DIFFERENCES 6u
#define ROUNDS_KEPT_FULL 32u

void bulk_free(struct bulk *bulk)
{
	if (!bulk)
		return;
	crew_free(bulk->crew);
	for (size_t i = 0; i < CREW_MAX; i++)
		unpacker_free(bulk->unpackers[i]);
	bulk_visiting_free(bulk->visiting);
	free(bulk);
}

/* Who is alone lets go of differences sooner than of full pages.  False: out of memory. */
static bool keep_clusters(struct store_view *view, bool alone)
{
	struct segment_cache *cache = view->cache;
	/* Of several readers side by side each needs about the clusters that one would: one or two
	 * of every generation. */
	size_t share = view->one_of > 2 ? 2 : 1;

	if (alone && !cache->full && !(cache->full = cluster_cache_new(FULL_BYTES / share)))
		return false;
	cluster_cache_resize(cache->clusters, (CLUSTERS_BYTES - (alone ? FULL_BYTES : 0)) / share);
	return true;
}

struct bulk *bulk_of(struct store_view *view)
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
	bulk->alone = whole && crew_size(bulk->crew) == 1;
	if (!whole || !keep_clusters(view, bulk->alone))
		goto err0;
	view->cache->bulk = bulk;
	if (view->one_of > 1)
		view->cache->slots_max = SEGMENT_SLOTS / 2;
	return bulk;

err0:
	bulk_free(bulk);
	warn("out of memory");
	return NULL;
}

static void unpack_part(size_t i, unsigned int worker, void *arg)
{
	struct bulk *bulk = arg;
	struct part *part = &bulk->parts[i];

	if (part->own)
		part->result =
		    cluster_read(bulk->unpackers[worker], &part->place, NULL, &part->cluster);
}

int bulk_assemble(struct bulk *bulk, const struct page_plan *page, const uint8_t *parent,
		  uint8_t *to)
{
	const struct link *link = &bulk->links[page->first + page->n];

	if (parent && parent != to)
		memcpy(to, parent, PAGE_BYTES);
	for (uint32_t i = 0; i < page->n; i++) {
		struct part *part = &bulk->parts[(--link)->part];

		if (part->result != R_OK)
			return part->result;
		if (!part->cluster->whole)
			return R_DAMAGED;
		if (i > 0 || parent)
			cluster_apply(part->cluster, link->at, to);
		else if (cluster_page(part->cluster, link->at) != to)
			memcpy(to, cluster_page(part->cluster, link->at), PAGE_BYTES);
	}
	return R_OK;
}

int bulk_check(const struct bulk *bulk, const struct page_plan *page, const uint8_t *bytes)
{
	uint8_t hash[HASH_BYTES];

	page_hash(bulk->secret, bytes, hash);
	return memcmp(hash, page->hash, HASH_BYTES) == 0 ? R_OK : R_DAMAGED;
}

static int make_page(struct bulk *bulk, const struct page_plan *page)
{
	uint8_t *to = bulk->to + page->at * PAGE_BYTES;
	int result = bulk_assemble(bulk, page, NULL, to);

	return result == R_OK ? bulk_check(bulk, page, to) : result;
}

void bulk_fetch_ahead(const struct bulk *bulk, const struct page_plan *page)
{
	const struct link *link = &bulk->links[page->first];

	for (uint32_t i = 0; i < page->n; i++, link++) {
		const struct part *part = &bulk->parts[link->part];

		if (part->result == R_OK && part->cluster && part->cluster->whole)
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
			bulk_fetch_ahead(bulk, &bulk->pages[i + FETCH_AHEAD]);
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

	if (!bulk->alone || bulk->visit)
		crew_run(bulk->crew, bulk->n_parts, unpack_part, bulk);
	if (bulk->visit)
		bulk_visit_round(bulk);
	else if (bulk->alone)
		bulk_make_alone(view);
	else
		crew_run(bulk->crew, (bulk->n_pages + PIECE_PAGES - 1) / PIECE_PAGES, make_pages,
			 bulk);
	for (size_t i = 0; i < bulk->n_pages; i++) {
		if (bulk->pages[i].result == R_FAILED)
			result = R_FAILED;
		else if (bulk->pages[i].result != R_OK && bulk->pages[i].at < *bad)
			*bad = bulk->pages[i].at;
	}
	for (size_t i = 0; i < bulk->n_parts; i++) {
		struct cluster *cluster = bulk->parts[i].cluster;

		if (bulk->parts[i].own && cluster)
			cluster_cache_put(cached_clusters(view->cache, cluster->delta), cluster);
	}
	if (bulk->alone) {
		cluster_cache_round(view->cache->clusters, ROUNDS_KEPT_DIFFERENCES);
		cluster_cache_round(view->cache->full, ROUNDS_KEPT_FULL);
	}
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
	if (bulk->visit && result != R_FAILED)
		bulk_visit_one(bulk, wanted, result == R_OK ? page : NULL);
	else if (result == R_OK)
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

int bulk_run(struct store_view *view, const struct wanted *wanted, size_t n, size_t *bad)
{
	struct bulk *bulk = bulk_of(view);
	int result = R_OK;

	if (!bulk)
		return R_FAILED;
	begin_round(bulk);
	for (size_t i = 0; result == R_OK && i < n; i++) {
		bulk_plan_ahead(view->cache, wanted, n, i);
		result = bulk_plan_page(view, &wanted[i]);
		if (result == R_BUSY) {
			result = do_round(view, bad);
			if (result == R_OK)
				result = bulk_plan_page(view, &wanted[i]);
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

struct wanted *bulk_wanted(const page_no *numbers, size_t n, bool sort, size_t *n_wanted)
{
	struct wanted *wanted = malloc((n + 1) * sizeof(*wanted));
	bool sorted = true;

	*n_wanted = 0;
	if (!wanted) {
		warn("out of memory");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] <= PAGE_ZERO)
			continue;
		sorted &= *n_wanted == 0 || wanted[*n_wanted - 1].number <= numbers[i];
		wanted[(*n_wanted)++] = (struct wanted){ numbers[i], i };
	}
	if (sort && !sorted)
		qsort(wanted, *n_wanted, sizeof(*wanted), by_number);
	return wanted;
}

int store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
		     page_no *bad)
{
	struct bulk *bulk;
	struct wanted *wanted;
	size_t n_wanted, worst = n;
	int result;

	if (n == 1) {
		const uint8_t *page;

		result = view_page(view, *numbers, &page);
		*bad = *numbers;
		if (result == R_OK)
			memcpy(buf, page, PAGE_BYTES);
		return result;
	}
	bulk = bulk_of(view);
	if (!bulk)
		return R_FAILED;
	wanted = bulk_wanted(numbers, n, !bulk->alone, &n_wanted);
	if (!wanted)
		return R_FAILED;
	for (size_t i = 0; i < n; i++)
		if (numbers[i] <= PAGE_ZERO)
			memset((uint8_t *)buf + i * PAGE_BYTES, 0, PAGE_BYTES);
	result = R_OK;
	bulk->to = buf;
	if (n_wanted > 0)
		result = bulk_run(view, wanted, n_wanted, &worst);
	free(wanted);
	if (result == R_OK && worst < n) {
		*bad = numbers[worst];
		result = R_DAMAGED;
	}
	return result;
}
