/* Whole reads and writes, and small files read at once. */
#ifndef SNAP_BASE_IO_H
#define SNAP_BASE_IO_H

#include <stddef.h>
#include <sys/types.h>

/* Reads exactly `len` bytes at `offset`.  R_OK, R_NOT_FOUND at an early end of file, R_FAILED with
 * errno set and nothing reported. */
int io_pread_all(int fd, void *buf, size_t len, off_t offset);

/* Writes exactly `len` bytes (at `offset` for the p form).  R_OK or R_FAILED with errno set. */
int io_write_all(int fd, const void *buf, size_t len);
int io_pwrite_all(int fd, const void *buf, size_t len, off_t offset);

/* Reads a whole file of unknown size (such as one of /proc) below `dirfd`.  The result is followed
 * by a NUL that `*len` does not count and is freed by the caller.  `max_bytes` bounds it: a longer
 * file is R_FAILED with errno EFBIG.  Otherwise R_OK, or R_FAILED with errno set. */
int io_read_file(int dirfd, const char *path, size_t max_bytes, char **data, size_t *len);
/* The same for what is left to read from an open file, which may be a pipe. */
int io_read_fd(int fd, size_t max_bytes, char **data, size_t *len);

/* Writes `len` bytes to an existing file by one write(2), as /proc files want it. */
int io_write_file(int dirfd, const char *path, const void *data, size_t len);

/* Moves a file to another place below `dirfd`, also in place of one that is there, and syncs both
 * directories.  The file itself must be synced.  R_OK or R_FAILED with errno set. */
int io_move_file(int dirfd, const char *from, const char *to);

/* Gives a file the name `to`, which must be free, in place of `from`.  0, or -1 with errno set
 * (EEXIST if it is not).  Nothing is synced. */
int io_rename_free(const char *from, const char *to);

/* Exchanges two files of one directory at one instant.  R_OK or R_FAILED with errno set (EINVAL
 * where the file system cannot). */
int io_exchange_files(int dirfd, const char *one, const char *other);

/* Gives a file another name in the same directory, which must be free.  The same results. */
int io_move_new(int dirfd, const char *from, const char *to);

/* Makes `to` hold what `from` holds, holes included, from the first byte on, whatever is in it; by
 * sharing blocks where the file system can.  Offsets of both are lost.  The same results. */
int io_copy_file(int from, int to);

#endif
