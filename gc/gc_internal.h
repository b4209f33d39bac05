/* What the steps of a gc share.  gc/DESIGN.md argues why nothing is lost. */
#ifndef SNAP_GC_GC_INTERNAL_H
#define SNAP_GC_GC_INTERNAL_H

#include "gc/gc.h"
#include "store/page_set.h"
#include "store/store_reap.h"

/* Every page that generations below number `upto` reach, with the bases they need.  Generations
 * forgotten since they were marked only make it too large. */
struct marks {
	struct visited visited;
	uint64_t upto;
	/* A generation came and went between two looks: which pages it reached is not known. */
	bool missed;
};

/* Adds what the generations of the view from marks->upto on reach.  R_OK, R_DAMAGED (reported: the
 * marks cannot be trusted), R_FAILED. */
int mark_generations(struct store_view *view, struct marks *marks);

/* The state of one run. */
struct run {
	struct store *store;
	const struct gc_options *options;
	struct marks marks;
	uint64_t spares; /* reap_spares() before any hash was dropped */
	struct gc_result *result;
};

/* Forgets what the plan says and still may be forgotten. */
int forget_generations(struct run *run, const struct gc_plan *plan);

/* Drops the hashes of pages that are not marked. */
int drop_hashes(struct run *run);

/* Condemns the segments with dead pages. */
int condemn_segments(struct run *run);

/* Reclaims the segments without live pages that no view can reach any more, frees holes that none
 * can, and brings back what a take has referred to meanwhile.  `result->bytes_pending` is set to
 * what still waits. */
int reclaim_segments(struct run *run);

/* What a segment holds now. */
struct liveness {
	uint32_t live; /* pages */
	uint64_t digest;
};
struct liveness liveness_of(const struct run *run, const struct reap_segment *segment,
			    struct store_view *view);

#endif
