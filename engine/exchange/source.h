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

/* A symbolic link in a tar; where it leads is as written. */
struct tar_link {
	const char *name, *target;
};

struct dump_source {
	const char *path;		  /* in messages */
	int dirfd;			  /* of a directory; or -1, and: */
	int tar;			  /* file descriptor of the uncompressed tar */
	const struct tar_member *members; /* its files, sorted by name, none twice */
	size_t n_members;
	const struct tar_link *links; /* sorted likewise */
	size_t n_links;
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

/*
 * Reads a whole file of at most `max_bytes`, freed by the caller; of a tar, of no more than
 * ARCHIVE_IMAGE_MAX_BYTES (archive.h).  As source_open().
 */
int source_read(const struct dump_source *source, const char *name, uint64_t max_bytes, char **data,
		size_t *len);

/*
 * Of a dump in a tar, the one its link `parent` leads to: the same source with another prefix,
 * which is freed by the caller.  R_OK; R_NOT_FOUND (no such link, not reported); R_DAMAGED (it
 * leads to no dump in the archive) or R_FAILED, both reported.
 */
int source_parent(const struct dump_source *source, struct dump_source *parent, char **prefix);

#endif
