/*
 * A note that a state of the index has been looked at page by page, in full, so that not every
 * opening looks at all of it again.  It is only an aid: without it everything is looked at.
 */
#ifndef SNAP_STORE_WALKED_H
#define SNAP_STORE_WALKED_H

#include "store/store_internal.h"

struct walked {
	uint64_t txn;	/* the last one that is in the index */
	int64_t time_s; /* when everything was looked at last, CLOCK_REALTIME */
};

/* What the note says.  False if there is none, or none to go by. */
bool walked_read(const struct store *store, struct walked *walked);

/* Replaces it.  Failures do no harm and are not told. */
void walked_write(const struct store *store, const struct walked *walked);

/* Removes it.  R_OK or R_FAILED, reported. */
int walked_remove(const struct store *store);

#endif
