/* What the steps of a gc share: marks, condemning, reclaiming. */
#ifndef SNAP_GC_GC_INTERNAL_H
#define SNAP_GC_GC_INTERNAL_H

#include "gc/gc.h"
#include "store/page_set.h"
#include "store/store_internal.h"

/* Every page that generations below number `upto` reach.  Generations forgotten since they were
 * marked only make it too large. */
struct marks {
	struct visited visited;
	uint64_t upto;
};

/* Adds what the generations of the view from marks->upto on reach.  R_OK, R_DAMAGED (reported: the
 * marks cannot be trusted), R_FAILED. */
int mark_generations(struct store_view *view, struct marks *marks);

/* The same inside a write transaction, so that nothing can be committed behind it. */
int mark_in_txn(struct store *store, struct index_txn *txn, struct marks *marks);

/* True if any page of first .. last is marked. */
bool marks_any(const struct marks *marks, page_no first, page_no last);

/* Forgets what the plan says and still may be forgotten; counts into `result`. */
int forget_generations(struct store *store, const struct gc_plan *plan, bool allow_empty,
		       struct gc_result *result);

/* Condemns the segments of which no page is marked. */
int condemn_segments(struct store *store, struct marks *marks, struct gc_result *result);

/* Reclaims condemned segments no reader can reach any more, brings back those a take has referred
 * to meanwhile.  `result->bytes_pending` is set to what still waits. */
int reclaim_segments(struct store *store, struct marks *marks, struct gc_result *result);

/* Gives the bytes of reclaimed segments and of dead writers back to the file system. */
int free_reclaimed(struct store *store, struct gc_result *result);

#endif
