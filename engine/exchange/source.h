/* Where the files of a dump come from: a directory, or a tar's members below one of its folders. */
#ifndef SNAP_ENGINE_EXCHANGE_SOURCE_H
#define SNAP_ENGINE_EXCHANGE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member of a tar: `size` bytes at `offset` of the tar's file. */
struct tar_member {
	char *name; /* without "./" */
	uint64_t offset, size;
};

struct dump_source {
	const char *path; /* in messages */
	int dirfd;	  /* of a directory; or -1, and: */
	int tar;	  /* file descriptor of the uncompressed tar */
	const struct tar_member *members;
	size_t n_members;
	const char *prefix; /* "checkpoint/" */
};

/* One file of it, opened to read. */
struct dump_file {
	int fd;
	bool own; /* closed by dump_file_close() */
	uint64_t base, size;
};

/*
 * Opens the file `name`, links not followed.  R_OK; R_NOT_FOUND (none, not reported); R_UNSUPPORTED
 * (not a file, reported); R_FAILED (reported).
 */
int source_open(const struct dump_source *source, const char *name, struct dump_file *file);
void dump_file_close(struct dump_file *file);

/* Reads exactly `len` bytes at `offset`.  R_OK, R_DAMAGED (it ends before, not reported), R_FAILED
 * with errno set. */
int dump_file_read(const struct dump_file *file, void *buf, size_t len, uint64_t offset);

/* Reads a whole file of at most `max_bytes`, freed by the caller.  As source_open(). */
int source_read(const struct dump_source *source, const char *name, uint64_t max_bytes, char **data,
		size_t *len);

#endif
