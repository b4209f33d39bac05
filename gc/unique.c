#include "base/endian.h"
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
/* What all of that may take: 60 million numbers if there are no more than 254 generations. */
#define OWNERS_BYTES_MAX ((size_t)64 << 20)

struct owners {
	uint8_t *
	    *pieces; /* of PIECE owners each, `width` bytes for one, in which all ones is SEVERAL */
	size_t n;
};

struct unique {
	struct store_view *view;
	struct owners pages, nodes[TREE_HEIGHT_MAX + 1]; /* by level, as in page_set.h */
	struct gc_unique *list;
	size_t n;
	uint32_t self; /* the generation being walked */
	unsigned int width;
	size_t bytes; /* of all pieces */
	bool failed, too_many;
};

/* NULL, with unique->failed set, if there is no room for it. */
static uint8_t *place_of(struct unique *unique, struct owners *owners, page_no number)
{
	size_t piece = number / PIECE, bytes = (size_t)PIECE * unique->width;

	if (piece >= owners->n) {
		size_t n = piece * 2 + 16;
		uint8_t **more = realloc(owners->pieces, n * sizeof(*more));

		if (!more)
			goto err;
		memset(more + owners->n, 0, (n - owners->n) * sizeof(*more));
		owners->pieces = more;
		owners->n = n;
	}
	if (!owners->pieces[piece]) {
		unique->bytes += bytes;
		unique->too_many = unique->bytes > OWNERS_BYTES_MAX;
		if (unique->too_many || !(owners->pieces[piece] = calloc(1, bytes)))
			goto err;
	}
	return owners->pieces[piece] + number % PIECE * unique->width;

err:
	if (!unique->failed && !unique->too_many)
		warn("out of memory");
	unique->failed = true;
	return NULL;
}

static uint32_t owner_at(const struct unique *unique, const uint8_t *place)
{
	uint32_t owner;

	if (unique->width == 1)
		return *place == UINT8_MAX ? SEVERAL : *place;
	if (unique->width == 2) {
		owner = get_le16(place);
		return owner == UINT16_MAX ? SEVERAL : owner;
	}
	return get_le32(place);
}

static void set_owner(const struct unique *unique, uint8_t *place, uint32_t owner)
{
	if (unique->width == 1)
		*place = (uint8_t)owner;
	else if (unique->width == 2)
		put_le16(place, (uint16_t)owner);
	else
		put_le32(place, owner);
}

/* NOBODY if there is no room, too: then it has failed. */
static uint32_t owner_of(struct unique *unique, page_no number)
{
	const uint8_t *place = place_of(unique, &unique->pages, number);

	return place ? owner_at(unique, place) : NOBODY;
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
	uint8_t *place = place_of(unique, owners, number);
	uint32_t owner = place ? owner_at(unique, place) : SEVERAL;

	if (owner == unique->self || owner == SEVERAL)
		return false;
	set_owner(unique, place, owner == NOBODY ? unique->self : SEVERAL);
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

	for (page_no number = first; number <= last; number++)
		if (owner_of(unique, number) != NOBODY)
			return true;
	return false;
}

/* Who needs a page needs what it is a difference to. */
static int reach_base(page_no number, page_no base, void *arg)
{
	struct unique *unique = arg;
	uint8_t *of_base = place_of(unique, &unique->pages, base);
	uint32_t owner = owner_of(unique, number), before;

	if (unique->failed)
		return R_FAILED;
	before = owner_at(unique, of_base);
	if (owner != NOBODY && owner != before)
		set_owner(unique, of_base, before == NOBODY ? owner : SEVERAL);
	return R_OK;
}

/* Shares the stored bytes of each cluster out among its pages. */
static void sum_segment(struct unique *unique, const struct segment *segment)
{
	for (uint32_t i = 0; i < segment->record.pages; i++) {
		uint32_t owner = owner_of(unique, segment_number(segment, i));
		uint32_t bytes, pages;

		if (owner == NOBODY || owner == SEVERAL)
			continue;
		segment_cluster_size(segment, i, &bytes, &pages);
		unique->list[owner - 1].bytes += bytes / pages + HASH_BYTES;
	}
}

static bool any_unique(struct unique *unique, page_no first, page_no last)
{
	for (page_no number = first; number <= last; number++) {
		uint32_t owner = owner_of(unique, number);

		if (owner != NOBODY && owner != SEVERAL)
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

/* How many owners there may be tells how wide one is. */
static int choose_width(struct unique *unique)
{
	struct reap_generation record;
	uint64_t next = 0, n = 0;
	int result;

	for (; (result = reap_generation_next(unique->view, next, &record)) == R_OK; n++)
		next = record.gen.number + 1;
	unique->width = n < UINT8_MAX ? 1 : n < UINT16_MAX ? 2 : 4;
	return result == R_NOT_FOUND ? R_OK : result;
}

int gc_bytes_unique(struct store_view *view, struct gc_unique **list, size_t *n)
{
	struct unique unique = { .view = view };
	int result;

	result = choose_width(&unique);
	if (result == R_OK)
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
		return unique.too_many ? R_NOT_FOUND : result;
	}
	*list = unique.list;
	*n = unique.n;
	return R_OK;
}
