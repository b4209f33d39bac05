/* How much of a mapping differs from an earlier generation. */
#ifndef SNAP_ENGINE_LOOK_DIRTY_H
#define SNAP_ENGINE_LOOK_DIRTY_H

#include "engine/look/look.h"

/*
 * Counts the pages of a mapping of `task` that hold other bytes than what was at the same addresses
 * of `task_before` in the earlier generation.  Where nothing was mapped counts as zeroes.  No page
 * is read, as equal pages have equal numbers.  `task_before` may be NULL.  R_OK, R_DAMAGED
 * (reported), R_FAILED (reported).
 */
int look_dirty(const struct look *before, const struct look_task *task_before,
	       const struct look *look, const struct look_task *task, const VmaEntry *vma,
	       uint64_t *pages);

#endif
