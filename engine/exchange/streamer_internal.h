/* What the files share that take images in one by one. */
#ifndef SNAP_ENGINE_EXCHANGE_STREAMER_INTERNAL_H
#define SNAP_ENGINE_EXCHANGE_STREAMER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/exchange/live_internal.h"

/* With what the names of objects have in front. */
#define STREAM_NAME_ROOM (IMPORT_NAME_MAX + 1 - sizeof(EXCHANGE_PREFIX))
/* Files of one dump, and those that are open at a time; then requests wait. */
#define STREAM_FILES_MAX ((size_t)1 << 20)
#define STREAM_OPEN_MAX 200
/* Images that are not memory are kept until their pages can be found, in memory. */
#define STREAM_IMAGES_MAX_BYTES ((uint64_t)1 << 30)
/* Length and message of a request. */
#define STREAM_REQUEST_ROOM (sizeof(uint32_t) + 8 + STREAM_NAME_ROOM)

/* The socket by which files are announced: a length, a message with the name, then a byte that
 * brings the pipe along. */
struct stream_control {
	int fd;
	bool over; /* the peer has no more */
	uint8_t buf[STREAM_REQUEST_ROOM];
	size_t have;
};

/*
 * Reads on.  R_OK with `*fd` -1, or with the pipe of a file `name`, which does not block;
 * R_DAMAGED (no request as CRIU makes them), R_FAILED; reported.
 */
int stream_control_read(struct stream_control *control, char name[STREAM_NAME_ROOM], int *fd);

/* As import_live.memory; `session` has the files of pages as objects. */
int stream_memory(struct import *im, const char *pagemap, void *session);

#endif
