/* What differs between the memory of two generations. */
#ifndef SNAP_ENGINE_LOOK_CHANGES_H
#define SNAP_ENGINE_LOOK_CHANGES_H

#include "engine/look/look.h"

/* Pages that follow each other and changed in the same way. */
struct look_change {
	uint64_t start; /* address of a task, or offset in an object */
	uint64_t pages;
	enum { CHANGE_WRITTEN, CHANGE_ADDED, CHANGE_REMOVED } kind;
	uint64_t bytes; /* that differ; all of them where pages were added or removed */
};

/*
 * Calls `fn` for each change from one object to another, in ascending order; either may be NULL (no
 * pages).  Only pages that differ are read.  `fn` returns non-zero to stop, which is then the
 * result.  R_OK, R_DAMAGED (reported), R_FAILED.
 */
int look_changes(struct store_view *view, const struct object *before, const struct object *after,
		 int (*fn)(const struct look_change *change, void *arg), void *arg);

#endif
