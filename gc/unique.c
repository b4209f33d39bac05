#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/segment_read.h"
#include "store/tree.h"

#include <stdlib.h>
#include <string.h>

/* Who reaches a number: nobody, one generation (its place in the list, from 1), or several. */
#define NOBODY 0u
#define SEVERAL UINT32_MAX
#define PIECE 65536u

struct owners {
	uint32_t **pieces;
	size_t n;
};

struct unique {
	struct store_view *view;
	struct owners pages, nodes[TREE_HEIGHT_MAX + 1]; /* by level, as in page_set.h */
	struct gc_unique *list;
	size_t n;
	uint32_t self; /* the generation being walked */
	bool failed;
};

static uint32_t *owner_of(struct unique *unique, struct owners *owners, page_no number)
{
	size_t piece = number / PIECE;

	if (piece >= owners->n) {
		size_t n = piece * 2 + 16;
		uint32_t **more = realloc(owners->pieces, n * sizeof(*more));

		if (!more)
			goto err;
		memset(more + owners->n, 0, (n - owners->n) * sizeof(*more));
		owners->pieces = more;
		owners->n = n;
	}
	if (!owners->pieces[piece] &&
	    !(owners->pieces[piece] = calloc(PIECE, sizeof(**owners->pieces))))
		goto err;
	return &owners->pieces[piece][number % PIECE];

err:
	if (!unique->failed)
		warn("out of memory");
	unique->failed = true;
	return NULL;
}

static void free_owners(struct owners *owners)
{
	for (size_t i = 0; i < owners->n; i++)
		free(owners->pieces[i]);
	free(owners->pieces);
}

/* True if this reach tells something new about the number. */
static bool reach(struct unique *unique, struct owners *owners, page_no number)
{
	uint32_t *owner = owner_of(unique, owners, number);

	if (!owner || *owner == unique->self || *owner == SEVERAL)
		return false;
	*owner = *owner == NOBODY ? unique->self : SEVERAL;
	return true;
}

/* A subtree is entered at most twice: for its first generation, and to note that there are more. */
static bool enter(page_no number, unsigned int level, void *arg)
{
	struct unique *unique = arg;

	reach(unique, &unique->pages, number);
	return reach(unique, &unique->nodes[level], number);
}

static int reach_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct unique *unique = arg;

	(void)index;
	for (size_t i = 0; i < n; i++)
		if (numbers[i] != PAGE_ZERO)
			reach(unique, &unique->pages, numbers[i]);
	return unique->failed ? R_FAILED : R_OK;
}

/* What is damaged is verify's to tell; the sum just lacks it. */
static int pass_over(page_no number, uint64_t index, void *arg)
{
	(void)number;
	(void)index;
	(void)arg;
	return R_OK;
}

static int reach_object(const char *name, const struct object *object, void *arg)
{
	struct unique *unique = arg;
	const struct tree_visitor visitor = {
		.enter = enter,
		.pages = reach_pages,
		.damaged = pass_over,
		.end = UINT64_MAX,
	};

	(void)name;
	return tree_visit(unique->view, object, &visitor, unique);
}

static int reach_generations(struct unique *unique)
{
	struct reap_generation record;
	uint64_t next = 0;
	int result;

	while ((result = reap_generation_next(unique->view, next, &record)) == R_OK) {
		struct gc_unique *more =
		    realloc(unique->list, (unique->n + 1) * sizeof(*unique->list));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		unique->list = more;
		unique->list[unique->n++] = (struct gc_unique){ record.gen.number, 0 };
		unique->self = (uint32_t)unique->n;
		next = record.gen.number + 1;
		result = reach_object(NULL, &record.directory, unique);
		if (result == R_OK)
			result = store_object_each(unique->view, record.gen.number, reach_object,
						   unique);
		if (result == R_FAILED || unique->failed)
			return R_FAILED;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static bool any_reached(page_no first, page_no last, void *arg)
{
	struct unique *unique = arg;

	for (page_no number = first; number <= last; number++) {
		const uint32_t *owner = owner_of(unique, &unique->pages, number);

		if (owner && *owner != NOBODY)
			return true;
	}
	return false;
}

/* Who needs a page needs what it is a difference to. */
static int reach_base(page_no number, page_no base, void *arg)
{
	struct unique *unique = arg;
	uint32_t *of_base = owner_of(unique, &unique->pages, base);
	const uint32_t *owner = owner_of(unique, &unique->pages, number);

	if (!owner || !of_base)
		return R_FAILED;
	if (*owner == NOBODY || *owner == *of_base)
		return R_OK;
	*of_base = *of_base == NOBODY ? *owner : SEVERAL;
	return R_OK;
}

/* Shares the stored bytes of each cluster out among its pages. */
static void sum_segment(struct unique *unique, const struct segment *segment)
{
	for (uint32_t i = 0; i < segment->record.pages; i++) {
		const uint32_t *owner =
		    owner_of(unique, &unique->pages, segment_number(segment, i));
		uint32_t bytes, pages;

		if (!owner || *owner == NOBODY || *owner == SEVERAL)
			continue;
		segment_cluster_size(segment, i, &bytes, &pages);
		unique->list[*owner - 1].bytes += bytes / pages + HASH_BYTES;
	}
}

static bool any_unique(struct unique *unique, page_no first, page_no last)
{
	for (page_no number = first; number <= last; number++) {
		const uint32_t *owner = owner_of(unique, &unique->pages, number);

		if (owner && *owner != NOBODY && *owner != SEVERAL)
			return true;
	}
	return false;
}

static int sum_segments(struct unique *unique)
{
	struct reap_segment at;
	const struct segment *segment;
	page_no next = 0;
	uint32_t place;
	int result;

	while ((result = reap_segment_next(unique->view, next, &at)) == R_OK) {
		next = at.record.last + 1;
		if (!any_unique(unique, at.record.first, at.record.last))
			continue;
		result = view_segment(unique->view, at.record.first, &segment, &place);
		if (result == R_OK)
			sum_segment(unique, segment);
		if (result == R_FAILED || unique->failed)
			return R_FAILED;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

int gc_bytes_unique(struct store_view *view, struct gc_unique **list, size_t *n)
{
	struct unique unique = { .view = view };
	int result;

	result = reach_generations(&unique);
	if (result == R_OK)
		result = reap_bases(view, any_reached, reach_base, &unique);
	if (result == R_OK)
		result = sum_segments(&unique);
	free_owners(&unique.pages);
	for (size_t i = 0; i <= TREE_HEIGHT_MAX; i++)
		free_owners(&unique.nodes[i]);
	if (result != R_OK) {
		free(unique.list);
		return result;
	}
	*list = unique.list;
	*n = unique.n;
	return R_OK;
}
