/*
 * Which pages of an address space are the task's own, which are guards, and which are known not to
 * have been written since they were last protected (track.h): one walk over the page tables, while
 * the task stands still.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_SURVEY_H
#define SNAP_ENGINE_PROC_CAPTURE_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/proc/pagemap.h"

enum survey_kind {
	SURVEY_OWN,   /* has contents of its own, to be read */
	SURVEY_KEPT,  /* has contents of its own, the same as when it was protected */
	SURVEY_GUARD, /* under MADV_GUARD_INSTALL */
};

struct survey_region {
	uint64_t start, end;
	enum survey_kind kind;
};

struct survey {
	struct survey_region *regions; /* ascending, not overlapping */
	size_t n, room;
	/* An untracked range had pages marked as protected: marks of somebody else, or left over.
	 */
	bool stale;
};

/* How much a range may be relied on. */
enum survey_trust {
	SURVEY_UNTRACKED, /* everything counts as written */
	SURVEY_TRACKED,	  /* pages under write protection were not written since */
	/* The same of anonymous memory, all of whose protected pages are the task's own.  What was
	 * not written is found out without a look at each page. */
	SURVEY_TRACKED_ANON,
	/* Pages without a soft-dirty bit were not written since. */
	SURVEY_SOFT_DIRTY,
};

/* Appends the regions of start .. end, which lies behind all before.  R_OK, R_FAILED (reported). */
int survey_range(struct survey *survey, struct pagemap *map, uint64_t start, uint64_t end,
		 enum survey_trust trust);
void survey_free(struct survey *survey);

/* Appends a region of SURVEY_OWN, which must lie behind all before.  R_OK, R_FAILED (reported). */
int survey_add_own(struct survey *survey, uint64_t start, uint64_t end);

/* What is kept of `survey` and among the regions of `written` is to be read.  R_OK, R_FAILED
 * (reported). */
int survey_read_too(struct survey *survey, const struct survey *written);

/* Bytes of one kind. */
uint64_t survey_bytes(const struct survey *survey, enum survey_kind kind);

/*
 * The first region within start .. end, cut to it; false if there is none.  `*at` is 0 at first and
 * kept by the caller.
 */
bool survey_next(const struct survey *survey, size_t *at, uint64_t start, uint64_t end,
		 struct survey_region *region);

#endif
