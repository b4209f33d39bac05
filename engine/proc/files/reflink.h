/*
 * Copies of files that share all their data with them, for reading later what a file holds now.
 *
 * Only some file systems can (XFS, btrfs, bcachefs), and it is worth it only where little has to be
 * flushed and the file is in few pieces: a clone costs some 30 µs for each extent, and reading a
 * page that is in memory 3 µs (docs/bench.md).
 */
#ifndef SNAP_ENGINE_FILES_REFLINK_H
#define SNAP_ENGINE_FILES_REFLINK_H

#include <stdbool.h>

/* Smaller files are read more quickly than they are cloned. */
#define REFLINK_MIN_BYTES (8u << 20)

/* Is the file system of this file one that can? */
bool reflink_can(int fd);

/* Writes to disk what is only in memory, so that a clone soon after has little to wait for. */
void reflink_flush(int fd);

/*
 * A file without a name that holds what `fd`, open for reading, holds at this instant, open for
 * reading and writing.  `path` is or was the name of the file: the clone is in that folder or one
 * above it.  It is gone when it is closed, whatever happens.  -1 (not reported) where there can be
 * none, where it takes longer than reading, or where the file's owner might lack the room to write
 * to it again while there are two: then read it now.
 */
int reflink_open(int fd, const char *path);

#endif
