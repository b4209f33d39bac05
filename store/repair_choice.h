/* Of segments that share page numbers: which of them a new index is to have. */
#ifndef SNAP_STORE_REPAIR_CHOICE_H
#define SNAP_STORE_REPAIR_CHOICE_H

#include "store/store_internal.h"

/* A segment in a pack. */
struct found {
	struct segment_record record;
	bool whole;    /* all of it can be unpacked */
	bool leftover; /* others have all of its pages */
};

/*
 * Sets `leftover` of copies that need not be: a gc was killed before it put them in place of what
 * it copied, or did not need them in the end.  They must not take that place now, as not all of it
 * may have been copied.  A gc that has put copies in place leaves what it copied for a while: then
 * either may be used, as long as all of it is there.  R_OK or R_FAILED.
 */
int mark_leftovers(struct store *store, struct found *list, size_t n);

#endif
