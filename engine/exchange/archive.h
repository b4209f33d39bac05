/*
 * Checkpoint archives of containers, as podman, CRI-O and Kubernetes write them: a tar, mostly
 * compressed, with a dump in one of its folders ("checkpoint/") and what the container engine knows
 * beside it.  Nothing of it is unpacked: members are read where they are within the tar.  Names,
 * sizes and links are somebody else's, so all that could lead anywhere is refused.
 */
#ifndef SNAP_ENGINE_EXCHANGE_ARCHIVE_H
#define SNAP_ENGINE_EXCHANGE_ARCHIVE_H

#include "base/progress.h"
#include "engine/exchange/source.h"

/* Members at most, directories among them.  Archives have some hundreds. */
#define ARCHIVE_MEMBERS_MAX 32768
/* Bytes of a name at most: an object is named after it. */
#define ARCHIVE_MEMBER_NAME_MAX 240
/* Bytes that belong to no member (headers, padding) at most: they are kept in memory. */
#define ARCHIVE_RAW_MAX_BYTES ((uint64_t)48 << 20)
/* Images in an archive are not larger: they are kept in memory one after the other. */
#define ARCHIVE_IMAGE_MAX_BYTES ((uint64_t)64 << 20)

struct archive_member {
	struct tar_member at; /* name, place, size */
	int64_t mtime_ns;
	bool directory;
	char *link; /* where a symbolic link leads to, NULL of others */
};

struct dump_archive {
	const char *path;	 /* in messages */
	const char *compression; /* "none", "gzip", "zstd", "bzip2", "lz4" */
	int fd;			 /* of the uncompressed tar */
	bool own_fd;
	uint64_t tar_bytes;
	struct archive_member *members; /* by place */
	size_t n_members, room;
	struct tar_member *files; /* those that are files, by name */
	size_t n_files;
	struct tar_link *links; /* those that are links, by name */
	size_t n_links;
	char *folder; /* where the dump is, "checkpoint/"; "" at the top */
};

/*
 * Reads what is in the archive `fd` (which has to stay as long), called `path` in messages.  One
 * that is compressed, or no regular file, is first copied to a file without name below $TMPDIR or
 * /var/tmp; that is bounded in relation to what was read.  R_OK; R_UNSUPPORTED (no archive of a
 * dump, or hostile: the member is named); R_DAMAGED (it ends early or is not whole); R_NOT_FOUND
 * (there is no dump in it); R_FAILED; all reported.  Freed by dump_archive_close() in any case.
 */
int dump_archive_read(int fd, const char *path, const struct progress *progress,
		      struct dump_archive *archive);
void dump_archive_close(struct dump_archive *archive);

/* The dump in it, valid as long as the archive. */
void dump_archive_source(const struct dump_archive *archive, struct dump_source *source);

#endif
