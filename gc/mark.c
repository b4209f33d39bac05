#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/segment_read.h"
#include "store/tree.h"

#include <inttypes.h>

struct marking {
	struct store_view *view;
	struct marks *marks;
	/* What was added, so that the bases of just these are looked for; not at the first marking,
	 * which looks at all segments with differences. */
	bool listing;
	struct page_set added;
};

static int add(struct marking *marking, page_no number)
{
	bool added;

	if (page_set_add(&marking->marks->visited.pages, number, &added) != R_OK)
		return R_FAILED;
	page_set_remove(&marking->marks->bases, number);
	return added && marking->listing ? page_set_add(&marking->added, number, NULL) : R_OK;
}

static bool enter(page_no number, unsigned int level, void *arg)
{
	struct marking *marking = arg;
	struct visited *visited = &marking->marks->visited;

	if (add(marking, number) != R_OK)
		visited->failed = true;
	return visited_node(visited, number, level);
}

static int mark_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	(void)index;
	for (size_t i = 0; i < n; i++)
		if (add(arg, numbers[i]) != R_OK)
			return R_FAILED;
	return R_OK;
}

static int mark_object(const char *name, const struct object *object, void *arg)
{
	const struct tree_visitor visitor = {
		.enter = enter,
		.pages = mark_pages,
		.end = UINT64_MAX,
	};
	struct marking *marking = arg;

	(void)name;
	return tree_visit(marking->view, object, &visitor, marking);
}

static int mark_generation(struct marking *marking, const struct reap_generation *generation)
{
	int result;

	result = mark_object(NULL, &generation->directory, marking);
	if (result == R_OK)
		result =
		    store_object_each(marking->view, generation->gen.number, mark_object, marking);
	if (result == R_OK && marking->marks->visited.failed)
		result = R_FAILED;
	if (result == R_DAMAGED && generation->gen.predump)
		warn("what was read ahead of %s has a damaged tree, so nothing is reclaimed before "
		     "the next take of it",
		     generation->gen.lineage);
	else if (result == R_DAMAGED)
		warn("generation %" PRIu64 " has a damaged tree, so nothing is reclaimed: run snap "
		     "verify, then forget what it names",
		     generation->gen.number);
	return result;
}

static int damaged_header(page_no first)
{
	warn("the segment of page %" PRIu64 " has a damaged header, so it is not known which pages "
	     "its differences need, and nothing is reclaimed: run snap verify, then forget what it "
	     "names",
	     first);
	return R_DAMAGED;
}

static bool any_marked(page_no first, page_no last, void *arg)
{
	const struct marks *marks = arg;

	return page_set_next(&marks->visited.pages, first, last) != PAGE_ABSENT;
}

static int add_base(struct marks *marks, page_no base, bool *added)
{
	if (page_set_add(&marks->visited.pages, base, added) != R_OK)
		return R_FAILED;
	return *added ? page_set_add(&marks->bases, base, NULL) : R_OK;
}

/* What a marked page is a difference to lives as it does. */
static int mark_base(page_no number, page_no base, void *arg)
{
	struct marks *marks = arg;

	if (!page_set_has(&marks->visited.pages, number))
		return R_OK;
	return add_base(marks, base, &(bool){ false });
}

/* Adds the bases under one page, down to the first that was marked already. */
static int mark_chain(struct marking *marking, page_no number)
{
	page_no base;
	bool added = true;
	int result;

	for (;;) {
		result = view_page_base(marking->view, number, &base);
		if (result == R_DAMAGED)
			return damaged_header(number);
		if (result != R_OK || base == PAGE_ABSENT)
			return result;
		if (add_base(marking->marks, base, &added) != R_OK)
			return R_FAILED;
		if (!added)
			return R_OK;
		number = base;
	}
}

static int mark_added_bases(struct marking *marking)
{
	struct reap_segment at = { 0 };
	page_no number = PAGE_ZERO;
	bool deltas = false;
	int result = R_OK;

	while (result == R_OK &&
	       (number = page_set_next(&marking->added, number + 1, UINT64_MAX)) != PAGE_ABSENT) {
		if (number > at.record.last) {
			result = reap_segment_before(marking->view, number, &at);
			if (result == R_FAILED)
				return R_FAILED;
			/* One that no segment has is verify's to tell. */
			deltas = result == R_OK && number <= at.record.last &&
				 at.record.flags & SEGMENT_DELTAS;
			result = R_OK;
		}
		if (deltas)
			result = mark_chain(marking, number);
	}
	return result;
}

/* Marks what has a number from `from` on and below `end`; `upto` is the next to be given there. */
static int mark_from(struct marking *marking, uint64_t from, uint64_t end, uint64_t upto)
{
	struct marks *marks = marking->marks;
	struct reap_generation generation;
	uint64_t next = from;
	int result;

	while ((result = reap_generation_next(marking->view, next, &generation)) == R_OK &&
	       generation.gen.number < end) {
		result = mark_generation(marking, &generation);
		if (result != R_OK)
			return result;
		if (marks->upto > 0 && generation.gen.number != next)
			marks->missed = true;
		next = generation.gen.number + 1;
	}
	if (result != R_OK && result != R_NOT_FOUND)
		return result;
	if (marks->upto > 0 && next != upto)
		marks->missed = true;
	return R_OK;
}

int mark_generations(struct store_view *view, struct marks *marks)
{
	struct marking marking = { .view = view, .marks = marks, .listing = marks->upto > 0 };
	uint64_t upto, predumps;
	int result;

	if (reap_next_numbers(view, &upto, &predumps) != R_OK)
		return R_FAILED;
	if (upto == marks->upto && predumps == marks->predumps_upto)
		return R_OK;
	result = mark_from(&marking, marks->upto, PREDUMP_FIRST, upto);
	if (result == R_OK)
		result = mark_from(&marking, marks->upto > 0 ? marks->predumps_upto : PREDUMP_FIRST,
				   UINT64_MAX, predumps);
	if (result == R_OK && marking.listing)
		result = mark_added_bases(&marking);
	else if (result == R_OK)
		result = reap_bases(view, any_marked, mark_base, marks);
	page_set_clear(&marking.added);
	if (result == R_OK) {
		marks->upto = upto;
		marks->predumps_upto = predumps;
	}
	return result;
}

bool is_reached(const struct marks *marks, page_no number)
{
	return page_set_has(&marks->visited.pages, number) && !page_set_has(&marks->bases, number);
}
