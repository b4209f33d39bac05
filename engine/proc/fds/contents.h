/* What a file holds: from the file into an object of the store, and back. */
#ifndef SNAP_ENGINE_PROC_FDS_CONTENTS_H
#define SNAP_ENGINE_PROC_FDS_CONTENTS_H

#include "engine/proc/fds/extents.h"
#include "engine/proc/fds/fds.h"

/* Where a file's data is, in pages; known before any of it is read. */
struct contents_plan {
	uint64_t size;
	enum extents_means means;
	struct extent *runs; /* of pages */
	size_t n_runs;
	struct partial_page *partial;
	size_t n_partial;
	struct extent *reserved; /* in bytes */
	size_t n_reserved;
	uint64_t pages; /* of all runs */
};

/* Looks at `fd`, a file of `size` bytes; `flush` as in extents_find().  R_OK (contents_plan_free()
 * it) or R_FAILED, reported. */
int contents_plan(int fd, uint64_t size, bool flush, struct contents_plan *plan);
void contents_plan_free(struct contents_plan *plan);

/* Reads what the plan says and hands it over as the object `name`.  What the file has lost since
 * reads as zeroes.  R_OK or R_FAILED, reported. */
int contents_put(struct ingest *ingest, const char *name, int fd, const struct contents_plan *plan);

/* Opens the inode of an open file anew to read it, without leaving a time of access where that is
 * allowed; -1 with errno set. */
int contents_open(int fd);

/* All of that for an open file of the target.  R_OK, R_UNSUPPORTED (a lease on it; named),
 * R_FAILED. */
int contents_take(struct fds_take *take, const struct taken_file *f, const char *name);

/*
 * Gives the empty file `fd`, open for reading and writing, its size and data back; `ghost` (may be
 * NULL) tells what was reserved and which pages are data in part.  R_OK, R_DAMAGED, R_FAILED, all
 * reported.
 */
int contents_restore(struct fds_restore *restore, int fd, const char *name, uint64_t size,
		     const SnapGhostEntry *ghost);

#endif
