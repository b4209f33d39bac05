#include "dedup/previous.h"

#include "base/result.h"
#include "store/tree.h"

#include <stdlib.h>

struct level {
	bool looked; /* what follows is known for `prefix` */
	bool present;
	uint64_t prefix;
	page_no number;
	page_no entries[NODE_ENTRIES];
};

struct previous {
	struct store_view *view;
	struct object object;
	struct level levels[TREE_HEIGHT_MAX + 1];
};

struct previous *previous_new(struct store_view *view, const struct object *object)
{
	struct previous *previous = calloc(1, sizeof(*previous));

	if (!previous)
		return NULL;
	previous->view = view;
	previous->object = *object;
	return previous;
}

void previous_free(struct previous *previous)
{
	free(previous);
}

/* The number of the node at this place, PAGE_ABSENT if there is none. */
static page_no node_number(struct previous *previous, unsigned int level, uint64_t prefix)
{
	const page_no *parent;
	page_no ignored;

	if (level > previous->object.height)
		return PAGE_ABSENT;
	if (level == previous->object.height)
		return prefix == 0 ? previous->object.root : PAGE_ABSENT;
	parent = previous_node(previous, level + 1, prefix / NODE_ENTRIES, &ignored);
	return parent ? parent[prefix % NODE_ENTRIES] : PAGE_ABSENT;
}

const page_no *previous_node(struct previous *previous, unsigned int level, uint64_t prefix,
			     page_no *number)
{
	struct level *at = &previous->levels[level];

	if (!at->looked || at->prefix != prefix) {
		at->looked = true;
		at->prefix = prefix;
		at->number = node_number(previous, level, prefix);
		if (previous->object.height == 0 && level == 1 && prefix == 0) {
			at->entries[0] = previous->object.root;
			at->present = true;
		} else {
			/* A damaged node only means that nothing is known here. */
			at->present = at->number != PAGE_ABSENT &&
				      tree_node(previous->view, at->number, at->entries) == R_OK;
		}
	}
	*number = at->number;
	return at->present ? at->entries : NULL;
}
