/*
 * How the memory of a frozen tree is captured, so that it stands still as short as can be.
 *
 * copy: while it is frozen, into memory of our own.  clone: each larger address space is cloned
 * (clone.h) and read when the tree runs again; what a clone does not have, ranges under
 * MADV_DONTFORK and MADV_WIPEONFORK and memory that is shared, is copied while frozen.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_CAPTURE_H
#define SNAP_ENGINE_PROC_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "engine/image/image.h"

struct capture;
struct dump_ctx;
struct dump_task;
struct witness;

/* Pages read aside while frozen. */
struct capture_aside {
	uint64_t start, end;
	uint8_t *pages;
};

/* Where the memory of one task is read from. */
struct capture_source {
	pid_t pid;
	bool is_clone; /* ranges that a clone lacks are in `asides`, ascending */
	const struct capture_aside *asides;
	size_t n_asides;
	const struct witness *witness; /* NULL: nothing is checked */
};

/*
 * Decides for a tree that has been collected, and makes the clones.  `*capture` is also there after
 * a failure, for capture_end().  R_OK, R_NOT_FOUND (a task died meanwhile), R_FAILED.
 */
int capture_tree(struct dump_ctx *ctx, enum capture_method method, struct capture **capture);

/* True if the memory of this task is stored by capture_store(), not while frozen. */
bool capture_is_cloned(const struct capture *capture, const struct dump_task *t);

/* Is this a range that a clone does not have, or not as it was? */
bool capture_lacks(const VmaEntry *vma);

/* When the tree runs again: stores what was cloned.  R_OK or R_FAILED. */
int capture_store(struct capture *capture);

/* Ends the clones; NULL is nothing.  How it was done stays in `summary`. */
void capture_end(struct capture *capture, struct capture_summary *summary);

#endif
