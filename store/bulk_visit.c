/*
 * Many pages looked at in passing.  Within a round, a page that is stored as a difference is made
 * right behind the one it differs from and of that, by the same thread: so a chain of differences
 * is gone over once and not once for each of its pages, and what is looked at was just made.
 */
#include "base/result.h"
#include "base/warn.h"
#include "store/bulk_internal.h"
#include "store/delta.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_ROOTS 8u

_Static_assert(STORE_WORKERS_MAX == CREW_MAX, "one worker, one number");

struct visiting {
	void (*fn)(const struct store_visited *visited, void *arg);
	void *arg;
	const struct wanted *wanted; /* sorted */
	size_t n;
	/* Of a round, 1 + a page or 0: the first one that differs from this, the next one that
	 * differs from the same; and those that do not differ from one of the round. */
	uint16_t first[ROUND_PAGES], next[ROUND_PAGES], roots[ROUND_PAGES];
	size_t n_roots;
	uint8_t *buffers[CREW_MAX]; /* a page for each of a chain */
};

_Static_assert(ROUND_PAGES < UINT16_MAX, "1 + a page of a round");

static size_t place_of(const struct visiting *v, page_no number)
{
	size_t at = bulk_find(v->wanted, v->n, sizeof(v->wanted[0]), number);

	return at == SIZE_MAX ? SIZE_MAX : v->wanted[at].at;
}

static void tell(const struct bulk *bulk, const struct page_plan *page, const uint8_t *bytes,
		 unsigned int worker)
{
	const struct visiting *v = bulk->visit;
	struct store_visited visited = { .at = page->at,
					 .number = page->number,
					 .worker = worker,
					 .bytes = bytes,
					 .base_at = SIZE_MAX };
	uint8_t differs[DELTA_BITMAP_BYTES];

	if (bytes && page->base != PAGE_ABSENT) {
		const struct link *link = &bulk->links[page->first];

		visited.base = page->base;
		visited.base_at = page->parent && page->n == 1 ? bulk->pages[page->parent - 1].at
							       : place_of(v, page->base);
		cluster_differs(bulk->parts[link->part].cluster, link->at, differs);
		visited.differs = differs;
	}
	v->fn(&visited, v->arg);
}

/* Makes the page at `to`, if it is not whole where it lies; `*bytes` becomes where it is. */
static int make(struct bulk *bulk, const struct page_plan *page, const uint8_t *parent, uint8_t *to,
		const uint8_t **bytes)
{
	const struct link *link = &bulk->links[page->first];
	const struct part *part = &bulk->parts[link->part];

	*bytes = to;
	if (page->base != PAGE_ABSENT || page->n != 1)
		return bulk_assemble(bulk, page, parent, to);
	if (part->result == R_OK && part->cluster->whole)
		*bytes = cluster_page(part->cluster, link->at);
	return part->result != R_OK || part->cluster->whole ? part->result : R_DAMAGED;
}

/*
 * The page and all that are made of it; `to` is room for those, a page for each of a chain, which
 * `parent` may be the first of.  The last one made of a page takes its place, as nobody needs it
 * any more.  At most CHAIN_MAX deep.  `below` tells how it stands with the parent: a page can be
 * made of one whose bytes are not those that they should be, if the words that are wrong are among
 * those that differ, but not of nothing.
 */
static void visit_page(struct bulk *bulk, size_t i, const uint8_t *parent, uint8_t *to,
		       unsigned int worker, int below)
{
	const struct visiting *v = bulk->visit;
	struct page_plan *page = &bulk->pages[i];
	const uint8_t *bytes = to;
	size_t child = v->first[i], next;

	if (child)
		bulk_fetch_ahead(bulk, &bulk->pages[child - 1]);
	if (page->result == R_OK)
		page->result = below == R_OK ? make(bulk, page, parent, to, &bytes) : below;
	below = page->result;
	if (page->result == R_OK)
		page->result = bulk_check(bulk, page, bytes);
	if (page->result != R_FAILED)
		tell(bulk, page, page->result == R_OK ? bytes : NULL, worker);
	for (; child; child = next) {
		next = v->next[child - 1];
		visit_page(bulk, child - 1, bytes, bytes == to && next ? to + PAGE_BYTES : to,
			   worker, below);
	}
}

static void visit_roots(size_t piece, unsigned int worker, void *arg)
{
	struct bulk *bulk = arg;
	const struct visiting *v = bulk->visit;
	size_t end = (piece + 1) * PIECE_ROOTS;

	for (size_t i = piece * PIECE_ROOTS; i < end && i < v->n_roots; i++)
		visit_page(bulk, v->roots[i], NULL, v->buffers[worker], worker, R_OK);
}

void bulk_visit_round(struct bulk *bulk)
{
	struct visiting *v = bulk->visit;

	v->n_roots = 0;
	memset(v->first, 0, bulk->n_pages * sizeof(*v->first));
	/* From behind, so that those that differ from one page are in ascending order. */
	for (size_t i = bulk->n_pages; i-- > 0;) {
		uint32_t parent = bulk->pages[i].parent;

		if (parent) {
			v->next[i] = v->first[parent - 1];
			v->first[parent - 1] = (uint16_t)(i + 1);
		} else {
			v->roots[v->n_roots++] = (uint16_t)i;
		}
	}
	crew_run(bulk->crew, (v->n_roots + PIECE_ROOTS - 1) / PIECE_ROOTS, visit_roots, bulk);
}

void bulk_visit_one(struct bulk *bulk, const struct wanted *wanted, const uint8_t *bytes)
{
	const struct store_visited visited = {
		.at = wanted->at, .number = wanted->number, .bytes = bytes, .base_at = SIZE_MAX
	};

	bulk->visit->fn(&visited, bulk->visit->arg);
}

static void visit_zeroes(struct visiting *v, const page_no *numbers, size_t n)
{
	static const uint8_t zeroes[PAGE_BYTES];

	for (size_t i = 0; i < n; i++) {
		const struct store_visited visited = {
			.at = i, .number = numbers[i], .bytes = zeroes, .base_at = SIZE_MAX
		};

		if (numbers[i] <= PAGE_ZERO)
			v->fn(&visited, v->arg);
	}
}

void bulk_visiting_free(struct visiting *v)
{
	for (unsigned int i = 0; v && i < CREW_MAX; i++)
		free(v->buffers[i]);
	free(v);
}

static struct visiting *visiting_of(struct bulk *bulk)
{
	struct visiting *v = bulk->visiting;
	bool whole;

	if (v)
		return v;
	v = calloc(1, sizeof(*v));
	whole = v != NULL;
	for (unsigned int i = 0; whole && i < crew_size(bulk->crew); i++) {
		v->buffers[i] = malloc((CHAIN_MAX + 1) * (size_t)PAGE_BYTES);
		whole = v->buffers[i] != NULL;
	}
	if (!whole) {
		warn("out of memory");
		bulk_visiting_free(v);
		return NULL;
	}
	return bulk->visiting = v;
}

int store_visit_pages(struct store_view *view, const page_no *numbers, size_t n,
		      void (*fn)(const struct store_visited *visited, void *arg), void *arg)
{
	struct bulk *bulk = bulk_of(view);
	struct visiting *v = bulk ? visiting_of(bulk) : NULL;
	size_t worst = n;
	struct wanted *wanted;
	int result = R_OK;

	if (!v)
		return R_FAILED;
	wanted = bulk_wanted(numbers, n, true, &v->n);
	if (!wanted)
		return R_FAILED;
	v->fn = fn;
	v->arg = arg;
	v->wanted = wanted;
	visit_zeroes(v, numbers, n);
	bulk->visit = v;
	if (v->n)
		result = bulk_run(view, wanted, v->n, &worst);
	bulk->visit = NULL;
	free(wanted);
	return result;
}
