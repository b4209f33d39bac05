/* Walking page trees. */
#ifndef SNAP_STORE_TREE_H
#define SNAP_STORE_TREE_H

#include "store/store_internal.h"

/* What to do on the way; each gets the `arg` of tree_visit(). */
struct tree_visitor {
	/* Before a node of `level` >= 1 is read; false passes over its subtree.  May be NULL. */
	bool (*enter)(page_no number, unsigned int level, void *arg);
	/* A run of present pages with consecutive indexes; non-zero ends the visit. */
	int (*pages)(uint64_t index, const page_no *numbers, size_t n, void *arg);
	/* A node that cannot be read whole; R_OK goes on beside it.  NULL: the visit ends with
	 * R_DAMAGED. */
	int (*damaged)(page_no number, uint64_t index, void *arg);
	uint64_t first, end; /* only indexes in first <= index < end */
};

/* Visits the tree in ascending order of index.  R_OK, what a callback gave, R_DAMAGED, R_FAILED. */
int tree_visit(struct store_view *view, const struct object *object,
	       const struct tree_visitor *visitor, void *arg);

/* Reads node `number` into 512 numbers.  R_OK, R_DAMAGED (not reported), R_FAILED. */
int tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES]);

#endif
