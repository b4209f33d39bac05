/*
 * One round of a pre-dump: what is to be read is found out, and protected, before (see
 * track_protect_ahead()) and while the tree stands still; it is read when the tree runs again.
 *
 * A page that is written meanwhile loses its protection, so that whatever was read of it is not
 * relied on.  It has to stand still for the protecting because the kernel may be about to write to
 * a page it has looked up before (a read() with O_DIRECT, process_vm_writev()), which no protection
 * notes: such calls of its threads are over once all have stopped.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_PREDUMP_H
#define SNAP_ENGINE_PROC_CAPTURE_PREDUMP_H

#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"

struct dump_ctx;
struct predump;

/*
 * Looks at the address spaces of a tree that stands still.  `*predump` is also there after a
 * failure, for predump_free().  R_OK, R_UNSUPPORTED (named), R_NOT_FOUND (a task died), R_FAILED.
 */
int predump_look(struct dump_ctx *ctx, struct predump **predump);

/*
 * When the tree runs again, after track_protect(): stores the pages as objects "pages-PID".  Pages
 * that vanish meanwhile are left out, and count as written.  R_OK or R_FAILED.
 */
int predump_read(struct predump *predump, struct predump_round *round);

/* Bytes the next look would find to be read, about, while the tree runs. */
uint64_t predump_left(struct predump *predump);

void predump_free(struct predump *predump);

/*
 * Bytes a take of the running tree below `root` would read, about; with `proven`, what is protected
 * counts as known.  Adds to `*worth` those of them that reading ahead would spare it: without
 * proof, address spaces with less than `least_bytes` are not going to be tracked, and are read
 * again.  Adds to `*tasks` how many there are.
 */
uint64_t predump_estimate(pid_t root, bool proven, uint64_t least_bytes, uint64_t *worth,
			  size_t *tasks);

#endif
