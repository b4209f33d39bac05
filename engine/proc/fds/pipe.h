/* Contents of pipes, named or not. */
#ifndef SNAP_ENGINE_PROC_FDS_PIPE_H
#define SNAP_ENGINE_PROC_FDS_PIPE_H

#include "engine/proc/fds/fds.h"

/* Copies what is in the pipe behind `f` without taking it out, into image `image` ("pipes-data" or
 * "fifo-data") under `pipe_id`. */
int pipe_contents_take(struct fds_take *take, const struct taken_file *f, enum image_kind_id image,
		       uint32_t pipe_id);

/* One pipe being brought back. */
struct pipe_state {
	struct pipe_state *next;
	uint32_t id;
	bool fifo;
	bool made;
	int ends[2]; /* for reading, for writing; -1 when given away or not there */
	int reopen;  /* any descriptor of it, to open more; not owned */
	const void *data;
	size_t bytes, size;	      /* size: of F_GETPIPE_SZ, 0 unknown */
	const SnapPipeEntry *packets; /* NULL: a stream */
};

/* Reads the three images of pipes and FIFOs; once. */
int pipes_load(struct fds_restore *restore);
/* The state of a pipe, made empty if no image tells of it; NULL after reporting. */
struct pipe_state *pipes_find(struct fds_restore *restore, bool fifo, uint32_t id);
/* Sets the size and writes the contents through `fd`, which can write. */
int pipes_fill(const struct pipe_state *pipe, int fd);
void pipes_done(struct fds_restore *restore);

#endif
