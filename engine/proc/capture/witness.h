/*
 * To check captures: what the pages of a task were while it stood still, as one sum for each, to
 * compare with what a clone gives later.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_WITNESS_H
#define SNAP_ENGINE_PROC_CAPTURE_WITNESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/proc/capture/survey.h"

struct tree_task;
struct witness;

/*
 * Reads every page of the survey that has contents, of a task that stands still; areas of rseq are
 * left out, as the kernel writes to them whenever a thread has made a remote call.  Pages given
 * back by MADV_FREE may have become zero by the time they are compared.  R_OK, R_FAILED (reported).
 */
int witness_new(const struct tree_task *task, const struct survey *survey,
		struct witness **witness);

/* How many of the `n` pages from address `start` on are not what they were; each is reported. */
size_t witness_compare(const struct witness *witness, uint64_t start, const uint8_t *pages,
		       size_t n);

/* NULL is nothing. */
void witness_free(struct witness *witness);

#endif
