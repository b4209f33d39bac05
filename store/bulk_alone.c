/*
 * Many pages at once, by a caller who is alone: each cluster of a round is gone through once, in
 * ascending order of number.  So a page is there before what differs from it, and what makes the
 * differences of one cluster is read in the order in which it lies in memory, not here and there in
 * all clusters for one page after the other.
 */
#include "base/result.h"
#include "store/bulk_internal.h"

#include <string.h>

/* How many steps ahead a difference is fetched, and what tells where it lies. */
#define NEAR_STEPS 4u
#define FAR_STEPS 8u

/* The parts in order: each is put among those before it, mostly behind the last. */
static void sort_parts(struct bulk *bulk)
{
	uint32_t *sorted = bulk->sorted;

	for (uint32_t i = 0; i < bulk->n_parts; i++) {
		const struct part *part = &bulk->parts[i];
		uint32_t low = 0, high = i;

		if (i > 0 && part_is_before(&bulk->parts[sorted[i - 1]], part))
			low = i;
		while (low < high) {
			uint32_t middle = (low + high) / 2;

			if (part_is_before(&bulk->parts[sorted[middle]], part))
				low = middle + 1;
			else
				high = middle;
		}
		memmove(&sorted[low + 1], &sorted[low], (i - low) * sizeof(*sorted));
		sorted[low] = i;
	}
}

/*
 * Makes steps of the links of pages that can be made: in the order of their parts, those of one
 * part in the order of pages.  Where gc has put several versions of a page into one cluster, the
 * older one comes first, so links are gone through from the full page up.
 */
static void make_steps(struct bulk *bulk)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < bulk->n_parts; i++)
		bulk->parts[i].n_steps = 0;
	for (size_t i = 0; i < bulk->n_pages; i++) {
		const struct page_plan *page = &bulk->pages[i];

		for (uint32_t k = 0; page->result == R_OK && k < page->n; k++)
			bulk->parts[bulk->links[page->first + k].part].n_steps++;
	}
	for (uint32_t i = 0; i < bulk->n_parts; i++) {
		bulk->parts[bulk->sorted[i]].end = at;
		at += bulk->parts[bulk->sorted[i]].n_steps;
	}
	bulk->n_steps = at;
	for (size_t i = 0; i < bulk->n_pages; i++) {
		const struct page_plan *page = &bulk->pages[i];

		for (uint32_t k = page->n; page->result == R_OK && k-- > 0;) {
			const struct link *link = &bulk->links[page->first + k];

			bulk->steps[bulk->parts[link->part].end++] =
			    (struct step){ link->part, (uint16_t)i, link->at };
		}
	}
}

/* The cluster of differences that a step is of, if it is at hand, else NULL. */
static const struct cluster *differences_of(const struct bulk *bulk, size_t step)
{
	const struct cluster *cluster;

	if (step >= bulk->n_steps)
		return NULL;
	cluster = bulk->parts[bulk->steps[step].part].cluster;
	return cluster && cluster->delta && cluster->whole ? cluster : NULL;
}

/* Differences lie here and there in many MiB, and each is needed once: when one is applied, the
 * next ones, which may be of other clusters, are on their way to the processor. */
static void fetch_ahead(const struct bulk *bulk, size_t step)
{
	const struct cluster *cluster = differences_of(bulk, step + FAR_STEPS);

	if (cluster)
		cluster_fetch_spot(cluster, bulk->steps[step + FAR_STEPS].at);
	cluster = differences_of(bulk, step + NEAR_STEPS);
	if (cluster)
		cluster_fetch_ahead(cluster, bulk->steps[step + NEAR_STEPS].at);
}

/* What a cluster does for its pages. */
static void do_part(struct bulk *bulk, struct part *part)
{
	bool whole;

	if (part->n_steps == 0)
		return;
	if (part->own && !part->cluster)
		part->result =
		    cluster_read(bulk->unpackers[0], &part->place, part->to, &part->cluster);
	whole = part->result == R_OK && part->cluster->whole;
	for (uint32_t i = part->end - part->n_steps; i < part->end; i++) {
		const struct step *step = &bulk->steps[i];
		struct page_plan *page = &bulk->pages[step->page];
		uint8_t *to = bulk->to + page->at * PAGE_BYTES;

		fetch_ahead(bulk, i);
		if (!whole && page->result != R_FAILED)
			page->result = part->result != R_OK ? part->result : R_DAMAGED;
		if (!whole)
			continue;
		if (part->cluster->delta)
			cluster_apply(part->cluster, step->at, to);
		else if (cluster_page(part->cluster, step->at) != to)
			memcpy(to, cluster_page(part->cluster, step->at), PAGE_BYTES);
		cluster_use(part->cluster, step->at);
	}
}

/* A cluster all of whose pages were had goes, so that the next one comes to the same memory while
 * the processor has it; and one whose bytes are the caller's. */
static void let_go(struct store_view *view, struct part *part)
{
	struct bulk *bulk = view->cache->bulk;
	struct cluster *cluster = part->cluster;

	if (!cluster || (cluster->n_used < cluster->pages && !cluster->lent))
		return;
	if (!part->own)
		cluster_cache_take(cached_clusters(view->cache, cluster->delta), cluster);
	cluster_reuse(bulk->unpackers[0], cluster);
	part->own = false;
	part->cluster = NULL;
}

void bulk_make_alone(struct store_view *view)
{
	struct bulk *bulk = view->cache->bulk;

	bulk_plan_places(bulk);
	sort_parts(bulk);
	make_steps(bulk);
	for (size_t i = 0; i < bulk->n_parts; i++) {
		struct part *part = &bulk->parts[bulk->sorted[i]];

		do_part(bulk, part);
		let_go(view, part);
	}
	for (size_t i = 0; i < bulk->n_pages; i++) {
		struct page_plan *page = &bulk->pages[i];

		if (page->result == R_OK)
			page->result = bulk_check(bulk, page, bulk->to + page->at * PAGE_BYTES);
	}
}
