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

/* What a take of a running tree would read, about. */
struct predump_estimate {
	bool proven; /* what is protected counts as known */
	uint64_t
	    least_bytes; /* address spaces with less are not going to be tracked, unless proven */
	uint64_t enough; /* once `worth` is so much, nothing more is looked at */

	uint64_t bytes; /* at least so many, if there is enough */
	uint64_t worth; /* of these: what reading ahead would spare it, as it is not read again */
	size_t tasks;
};

/* Adds to the estimate what there is of the tree below `root`. */
void predump_estimate(struct predump_estimate *estimate, pid_t root);

#endif
