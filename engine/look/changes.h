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

/* What is called, with `arg`. */
struct look_changes_to {
	/* For each change, in ascending order; returns non-zero to stop, which is then the result.
	 */
	int (*fn)(const struct look_change *change, void *arg);
	/* Does something other than zeroes show at this page index where there is no page?  A page
	 * of zeroes that comes or goes is no change elsewhere.  NULL: nowhere. */
	bool (*shows_file)(uint64_t index, void *arg);
	void *arg;
};

/*
 * Tells the changes from one object to another; either may be NULL (no pages).  Only pages that
 * differ are read.  R_OK, R_DAMAGED (reported), R_FAILED.
 */
int look_changes(struct store_view *view, const struct object *before, const struct object *after,
		 const struct look_changes_to *to);

#endif
