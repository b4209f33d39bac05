#include "store/tree.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/segment_read.h"

#include <inttypes.h>

struct visit {
	struct store_view *view;
	const struct tree_visitor *visitor;
	void *arg;
};

int tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES])
{
	const uint8_t *page;
	int result;

	result = view_page(view, number, &page);
	if (result != R_OK)
		return result;
	for (size_t i = 0; i < NODE_ENTRIES; i++)
		entries[i] = get_le64(page + 8 * i);
	return R_OK;
}

/* Tells of the runs among the entries from..to-1 of a level-1 node over index `base`. */
static int visit_leaf(const struct visit *visit, const page_no *entries, uint64_t base, size_t from,
		      size_t to)
{
	for (size_t i = from; i < to;) {
		size_t start;
		int result;

		while (i < to && entries[i] == PAGE_ABSENT)
			i++;
		start = i;
		while (i < to && entries[i] != PAGE_ABSENT)
			i++;
		if (i == start)
			break;
		result =
		    visit->visitor->pages(base + start, entries + start, i - start, visit->arg);
		if (result)
			return result;
	}
	return R_OK;
}

/* Index distance between two entries of a node of `level`. */
static uint64_t entry_span(unsigned int level)
{
	return (uint64_t)1 << (9 * (level - 1));
}

static int visit_node(const struct visit *visit, page_no number, unsigned int level, uint64_t base)
{
	const struct tree_visitor *visitor = visit->visitor;
	uint64_t span = entry_span(level);
	page_no entries[NODE_ENTRIES];
	size_t from = 0, to = NODE_ENTRIES;
	int result;

	if (visitor->enter && !visitor->enter(number, level, visit->arg))
		return R_OK;
	result = tree_node(visit->view, number, entries);
	if (result == R_DAMAGED && visitor->damaged)
		return visitor->damaged(number, base, visit->arg);
	if (result != R_OK)
		return result;
	if (visitor->first > base)
		from = (visitor->first - base) / span;
	if (visitor->end - base < NODE_ENTRIES * span)
		to = (visitor->end - base + span - 1) / span;
	if (level == 1)
		return visit_leaf(visit, entries, base, from, to);
	for (size_t i = from; i < to; i++) {
		if (entries[i] == PAGE_ABSENT)
			continue;
		result = visit_node(visit, entries[i], level - 1, base + i * span);
		if (result)
			return result;
	}
	return R_OK;
}

int tree_visit(struct store_view *view, const struct object *object,
	       const struct tree_visitor *visitor, void *arg)
{
	struct visit visit = { view, visitor, arg };

	if (object->root == PAGE_ABSENT || visitor->first >= visitor->end)
		return R_OK;
	if (object->height > TREE_HEIGHT_MAX)
		return R_DAMAGED;
	if (object->height == 0)
		return visitor->first == 0 ? visitor->pages(0, &object->root, 1, arg) : R_OK;
	return visit_node(&visit, object->root, object->height, 0);
}

struct walk {
	int (*fn)(uint64_t index, const page_no *numbers, size_t n, void *arg);
	void *arg;
};

static int walk_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct walk *walk = arg;

	return walk->fn(index, numbers, n, walk->arg);
}

static int walk_damaged(page_no number, uint64_t index, void *arg)
{
	(void)arg;
	warn("page %" PRIu64 " of the store, a tree node over page index %" PRIu64
	     ", is damaged: run snap verify --data",
	     number, index);
	return R_DAMAGED;
}

int store_object_walk(struct store_view *view, const struct object *object, uint64_t first,
		      uint64_t end,
		      int (*fn)(uint64_t index, const page_no *numbers, size_t n, void *arg),
		      void *arg)
{
	struct walk walk = { fn, arg };
	const struct tree_visitor visitor = {
		.pages = walk_pages,
		.damaged = walk_damaged,
		.first = first,
		.end = end,
	};

	return tree_visit(view, object, &visitor, &walk);
}
