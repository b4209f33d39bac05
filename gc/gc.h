/*
 * Forgetting generations by policy or by hand, and giving back the space nothing refers to any
 * more.  Forgetting is a plan first (what a dry run prints) and then its execution.  How a take and
 * a gc get along is argued in gc/DESIGN.md.
 */
#ifndef SNAP_GC_GC_H
#define SNAP_GC_GC_H

#include "base/progress.h"
#include "store/store.h"

/*
 * What to keep, applied to each lineage by itself.  keep_last N keeps the N newest; keep_hourly N
 * the newest generation of each of the N newest hours that have one, and so on (local time, ISO
 * weeks); keep_within_ns everything younger than that before `now`.  A generation is kept if any
 * rule keeps it.  With no rule at all every generation is kept.
 */
struct gc_policy {
	unsigned keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly;
	uint64_t keep_within_ns;
	const char *lineage; /* only this lineage is thinned out, NULL: all */
	bool allow_empty;    /* may forget the last generation of a lineage */
};

#define GC_REASON_MAX 160
struct gc_item {
	struct generation gen;
	bool kept;
	char reason[GC_REASON_MAX]; /* "last 1 of 3, daily 2026-11-23", "pinned", "no rule keeps it"
				     */
};

/* Every generation of the store in ascending order of number. */
struct gc_plan {
	size_t n;
	struct gc_item *items;
};

/* True if the policy has at least one rule. */
bool gc_policy_any(const struct gc_policy *policy);

/* Decides about every generation of the view; nothing is changed.  `now_ns` is CLOCK_REALTIME.  The
 * plan is freed with gc_plan_free().  R_OK or R_FAILED. */
int gc_plan_policy(struct store_view *view, const struct gc_policy *policy, int64_t now_ns,
		   struct gc_plan **plan);

/*
 * The plan that forgets just these generations.  R_NOT_FOUND if one does not exist, R_BUSY if one
 * is pinned or is the last of its lineage without `allow_empty`; both reported, naming it.
 */
int gc_plan_forget(struct store_view *view, const uint64_t *numbers, size_t n, bool allow_empty,
		   struct gc_plan **plan);
void gc_plan_free(struct gc_plan *plan);

struct gc_options {
	bool allow_empty;
	/* How long to wait for takes and readers that began before; 0: not at all. */
	uint64_t wait_ns;
	/* Packs of which more than this is dead are compacted; 100: none. */
	unsigned max_unused_percent;
	/* Bytes of segments copied by one run, but at least one segment; 0: no bound. */
	uint64_t max_rewrite_bytes;
	/* Compresses what a take has compressed for speed; see docs/commands.md. */
	bool recompress;
	const struct progress *progress; /* may be NULL */
};

/* The default of --max-unused; measured in gc/DESIGN.md. */
#define GC_MAX_UNUSED_PERCENT 10

struct gc_result {
	uint64_t kept, forgotten; /* generations */
	uint64_t bytes_freed;	  /* given back to the file system, as it counts them */
	/* Written anew, by compacting and recompressing: the store shrank by bytes_freed less this.
	 */
	uint64_t bytes_rewritten;
	/* Dead, but an older reader may still use it: the next gc frees it. */
	uint64_t bytes_pending;
	/* Dead in segments of which too much lives for them to be worth copying, about. */
	uint64_t bytes_unused;
	uint64_t pages_dead; /* in what this run condemned */
	/* Bytes of packs that nothing needs: of pages in nothing that is kept and base of nothing
	 * that is kept, and what earlier runs have let go of without giving it back.  After the
	 * forgetting, and at the end.  Of segments that are dead in part, about. */
	uint64_t bytes_dead, bytes_dead_left;
	/* Differences over what no generation reaches that were stored in full. */
	uint64_t pages_detached;
};

/*
 * Forgets what the plan forgets (NULL: nothing), then marks, condemns and reclaims.  A generation
 * pinned since the plan was made stays, and so does the last of a lineage unless
 * `options->allow_empty`.  May be interrupted at any point and run again.  Takes go on beside it
 * and never wait for more than one short index transaction.  The caller holds no view of this store
 * meanwhile, or its memory is only condemned.  R_OK, R_DAMAGED (a tree cannot be read: nothing is
 * reclaimed, reported), R_FAILED.
 */
int gc_run(struct store *store, const struct gc_plan *plan, const struct gc_options *options,
	   struct gc_result *result);

/* gc_plan_forget() and gc_run() in one, for `snap forget`. */
int gc_forget(struct store *store, const uint64_t *numbers, size_t n,
	      const struct gc_options *options, struct gc_result *result);

/* How many bytes of packs only this generation needs: what forgetting it alone would make dead. */
struct gc_unique {
	uint64_t generation;
	uint64_t bytes;
};

/* For every generation of the view, in ascending order; `*list` is freed by the caller.  R_OK;
 * R_NOT_FOUND if there are too many pages to tell that within 64 MiB; R_DAMAGED or R_FAILED, both
 * reported. */
int gc_bytes_unique(struct store_view *view, struct gc_unique **list, size_t *n);

#endif
