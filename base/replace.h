/* Small files that are replaced whole. */
#ifndef SNAP_BASE_REPLACE_H
#define SNAP_BASE_REPLACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Puts a file below `dirfd` in place of one of that name, or of none, so that at any instant the
 * old one or the new one is there whole: temporary file, fsync, rename, fsync of the directory.
 * `mode` is exact, whatever the umask.  R_OK or R_FAILED with errno set.
 */
int io_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode);

/* The same, but after a power loss there may be the old contents, which are then whole. */
int io_replace_file_soon(int dirfd, const char *name, const void *data, size_t len, mode_t mode);

/* The same for what means nothing after the next start of the machine: a power loss may leave
 * anything, with which readers have to get along. */
int io_replace_file_for_now(int dirfd, const char *name, const void *data, size_t len, mode_t mode);

/*
 * Removes what writers that were killed left behind in the folder: temporary files of the functions
 * above for names that begin with `prefix` ("": all).  A writer holds a lock (flock) on its own, so
 * one that is at work keeps it, whatever pid namespace or container it is in.  Returns the bytes
 * that are free now as the file system counts them.
 */
uint64_t io_sweep_temporaries(int dirfd, const char *prefix);

#endif
