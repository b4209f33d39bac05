/* An object of the lineage's last generation, looked at in ascending order beside the new one. */
#ifndef SNAP_DEDUP_PREVIOUS_H
#define SNAP_DEDUP_PREVIOUS_H

#include "store/store_internal.h"

struct previous;

/* Looks at `object` through `view`, which must outlive it.  NULL without memory. */
struct previous *previous_new(struct store_view *view, const struct object *object);
void previous_free(struct previous *previous);

/*
 * The 512 numbers of the node of `level` >= 1 whose place among the nodes of that level is `prefix`
 * (index >> 9 * level), and its own number; NULL if the old tree has none there or it cannot be
 * read.  Of a tree of height 0, level 1 shows a node with the root as its only page and the number
 * PAGE_ABSENT.  Valid until the next call for the same level.
 */
const page_no *previous_node(struct previous *previous, unsigned int level, uint64_t prefix,
			     page_no *number);

#endif
