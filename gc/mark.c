#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/tree.h"

#include <inttypes.h>

static bool enter(page_no number, unsigned int level, void *arg)
{
	struct marks *marks = arg;

	return visited_node(&marks->visited, number, level);
}

static int mark_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct marks *marks = arg;

	(void)index;
	for (size_t i = 0; i < n; i++)
		if (page_set_add(&marks->visited.pages, numbers[i], NULL) != R_OK)
			return R_FAILED;
	return R_OK;
}

struct marking {
	struct store_view *view;
	struct marks *marks;
};

static int mark_object(const char *name, const struct object *object, void *arg)
{
	struct marking *marking = arg;
	const struct tree_visitor visitor = {
		.enter = enter,
		.pages = mark_pages,
		.end = UINT64_MAX,
	};

	(void)name;
	return tree_visit(marking->view, object, &visitor, marking->marks);
}

static int mark_generation(struct marking *marking, const struct reap_generation *generation)
{
	int result;

	result = mark_object(NULL, &generation->directory, marking);
	if (result == R_OK)
		result =
		    store_object_each(marking->view, generation->gen.number, mark_object, marking);
	if (result == R_DAMAGED)
		warn("generation %" PRIu64 " has a damaged tree, so nothing is reclaimed: run snap "
		     "verify, then forget what it names",
		     generation->gen.number);
	if (result == R_OK && marking->marks->visited.failed)
		result = R_FAILED;
	return result;
}

static bool any_marked(page_no first, page_no last, void *arg)
{
	const struct marks *marks = arg;

	return page_set_next(&marks->visited.pages, first, last) != PAGE_ABSENT;
}

/* What a marked page is a difference to lives as it does. */
static int mark_base(page_no number, page_no base, void *arg)
{
	struct marks *marks = arg;

	if (!page_set_has(&marks->visited.pages, number))
		return R_OK;
	return page_set_add(&marks->visited.pages, base, NULL);
}

int mark_generations(struct store_view *view, struct marks *marks)
{
	struct marking marking = { view, marks };
	struct reap_generation generation;
	uint64_t upto, next = marks->upto;
	int result;

	if (reap_next_generation(view, &upto) != R_OK)
		return R_FAILED;
	if (upto == marks->upto)
		return R_OK;
	while ((result = reap_generation_next(view, next, &generation)) == R_OK) {
		result = mark_generation(&marking, &generation);
		if (result != R_OK)
			return result;
		if (marks->upto > 0 && generation.gen.number != next)
			marks->missed = true;
		next = generation.gen.number + 1;
	}
	if (result != R_NOT_FOUND)
		return result;
	if (marks->upto > 0 && next != upto)
		marks->missed = true;
	result = reap_bases(view, any_marked, mark_base, marks);
	if (result == R_OK)
		marks->upto = upto;
	return result;
}
