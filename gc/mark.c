#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/segment_read.h"
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

int mark_generations(struct store_view *view, struct marks *marks)
{
	struct marking marking = { view, marks };
	struct generation_record record;
	uint64_t upto;
	int result;

	if (index_meta_get(view->txn, "next_generation", 1, &upto) != R_OK)
		return R_FAILED;
	while ((result = generation_ceiling(view->txn, marks->upto, &record)) == R_OK) {
		result = mark_object(NULL, &record.directory, &marking);
		if (result == R_OK)
			result = store_object_each(view, record.gen.number, mark_object, &marking);
		if (result == R_DAMAGED)
			warn("generation %" PRIu64 " has a damaged tree, so nothing is reclaimed: "
			     "run snap verify, then forget what it names",
			     record.gen.number);
		if (result != R_OK)
			return result;
		if (marks->visited.failed)
			return R_FAILED;
		marks->upto = record.gen.number + 1;
	}
	if (result != R_NOT_FOUND)
		return result;
	marks->upto = upto;
	return R_OK;
}

int mark_in_txn(struct store *store, struct index_txn *txn, struct marks *marks)
{
	struct store_view view = { .store = store, .txn = txn };
	uint64_t upto;
	int result;

	if (index_meta_get(txn, "next_generation", 1, &upto) != R_OK)
		return R_FAILED;
	if (upto == marks->upto)
		return R_OK;
	view.cache = segment_cache_new();
	if (!view.cache) {
		warn("out of memory");
		return R_FAILED;
	}
	result = mark_generations(&view, marks);
	segment_cache_free(view.cache);
	directory_free(view.directory);
	return result;
}

bool marks_any(const struct marks *marks, page_no first, page_no last)
{
	for (page_no number = first; number <= last; number++)
		if (page_set_has(&marks->visited.pages, number))
			return true;
	return false;
}
