/* A tar being written, compressed if it is to be, in one pass. */
#ifndef SNAP_ENGINE_EXCHANGE_TAR_OUT_H
#define SNAP_ENGINE_EXCHANGE_TAR_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive;

struct tar_out {
	const char *path; /* in messages */
	struct archive *archive;
	int64_t time_ns; /* of members */
};

/*
 * Begins a tar on `fd`, which stays the caller's.  `compression` is one of "none", "gzip", "zstd",
 * "bzip2", "lz4".  With `ready` the bytes of the tar itself are given to tar_out_data(); otherwise
 * members are.  Each R_OK, or R_FAILED, reported; of an unknown compression R_UNSUPPORTED.
 */
int tar_out_begin(struct tar_out *out, int fd, const char *path, const char *compression,
		  bool ready);

/* The head of a file of `bytes`, which tar_out_data() then gives; of a folder if `name` ends in
 * "/". */
int tar_out_member(struct tar_out *out, const char *name, uint64_t bytes);
int tar_out_data(struct tar_out *out, const void *data, size_t len);

/* A whole member; one with what is in the file `fd`. */
int tar_out_bytes(struct tar_out *out, const char *name, const void *data, size_t len);
int tar_out_file(struct tar_out *out, const char *name, int fd);

/* Ends it if `rc` is R_OK, and frees it in any case.  `rc`, or R_FAILED. */
int tar_out_end(struct tar_out *out, int rc);

#endif
