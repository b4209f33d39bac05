/* What the steps of a gc share.  gc/DESIGN.md argues why nothing is lost. */
#ifndef SNAP_GC_GC_INTERNAL_H
#define SNAP_GC_GC_INTERNAL_H

#include "gc/gc.h"
#include "store/page_set.h"
#include "store/store_reap.h"

/* Every page that generations below number `upto` and pre-dumps below `predumps_upto` reach, with
 * the bases they need.  Those forgotten since they were marked only make it too large. */
struct marks {
	struct visited visited;
	/* Those of them that no generation reaches, which only differences need. */
	struct page_set bases;
	uint64_t upto, predumps_upto; /* 0: nothing is marked yet */
	/* A generation or pre-dump came and went between two looks: which pages it reached is not
	 * known. */
	bool missed;
};

/* Adds what the generations and pre-dumps of the view from there on reach.  R_OK, R_DAMAGED
 * (reported: the marks cannot be trusted), R_FAILED. */
int mark_generations(struct store_view *view, struct marks *marks);

/* How much of each pack is dead, about: the pages of a segment share its bytes alike.  Only of
 * segments of which something lives: the others go anyway. */
struct pack_share {
	uint64_t pack;
	uint64_t bytes, dead;
};

/* The state of one run. */
struct run {
	struct store *store;
	const struct gc_options *options;
	struct marks marks;
	uint64_t spares;	   /* reap_spares() before any hash was dropped */
	struct pack_share *shares; /* by pack */
	size_t n_shares;
	uint64_t segments_bytes; /* of all packs, as measured last */
	struct page_set damaged; /* pages that could not be copied */
	/* Pages that are differences over what no generation reaches any more, see detach.c; while
	 * `detaching`, segments with such pages are copied and no others. */
	struct page_set detach;
	bool detaching;
	uint64_t copied_bytes;
	uint64_t bound_bytes; /* to be copied at most; 0: no bound */
	struct gc_result *result;
};

/* Brings the marks up to date in a view, so that little is left for a transaction to do, then does
 * reap_write(); `fn` brings them up to date again. */
int marked_write(struct run *run, int (*fn)(struct reap *reap, void *arg), void *arg);

/* Tells how far the run is; R_FAILED once the person has interrupted it. */
int tell(const struct run *run, const char *phase, uint64_t done, uint64_t total,
	 enum progress_unit unit);

/* Forgets what the plan says and still may be forgotten. */
int forget_generations(struct run *run, const struct gc_plan *plan);

/* Drops the hashes of pages that are not marked. */
int drop_hashes(struct run *run);

/* What a segment holds now. */
struct liveness {
	uint32_t live; /* pages */
	uint64_t digest;
};
struct liveness liveness_of(const struct run *run, const struct reap_segment *segment,
			    struct store_view *view);

/* Fills run->shares and run->segments_bytes. */
int measure_packs(struct run *run);

/* What of the segments is dead now, and what was let go of and is not given back yet. */
int measure_dead(struct run *run, uint64_t *bytes);

/* True if the segment, of which `live` pages live but not all, is to be copied. */
bool worth_copying(const struct run *run, const struct reap_segment *segment, uint32_t live);

/* Condemns the segments without live pages and those worth copying. */
int condemn_segments(struct run *run);

/* Reclaims the segments without live pages that no view can reach any more, and brings back what a
 * take has referred to meanwhile.  `result->bytes_pending` grows by what still waits. */
int reclaim_segments(struct run *run);

/* True if a generation reaches the page itself. */
bool is_reached(const struct marks *marks, page_no number);

/* Fills run->detach from the marks. */
int find_detached(struct run *run);
bool has_detached(const struct run *run, const struct reap_segment *segment);

/* Copies what lives in segments worth it, within the bounds of the options. */
int compact_segments(struct run *run);

/* Frees the holes no view needs any more; `result->bytes_pending` grows by those that wait. */
int free_holes(struct run *run);

#endif
