/*
 * Generations from and to what CRIU writes, directories of images, and what container engines make
 * of them: archives.
 *
 * An imported generation holds each file of the directory as it is, as the object criu/NAME, and
 * what snap itself works with, made of them: images by their names without .img, memory as page
 * trees. Both consist of the same pages, so that it costs little more than one of them.
 *
 *   source.c   files of a directory, or within a tar
 *   pagemap.c  memory of a directory and its parents
 *   import.c   a directory becomes a generation: its files; import_own.c  what snap makes of them
 *   archive.h  members of an archive; import_archive.c  what is beside its dump
 *   export.c   a generation becomes a directory; export_memory.c  its memory
 *   export_archive.c  a generation becomes an archive; tar_out.h  a tar being written
 *   export_own.c  images of snap's in the form CRIU reads
 */
#ifndef SNAP_ENGINE_EXCHANGE_EXCHANGE_H
#define SNAP_ENGINE_EXCHANGE_EXCHANGE_H

#include <stddef.h>

#include "base/progress.h"
#include "store/seal.h"
#include "store/store.h"

/* What the objects of files as they are begin with. */
#define EXCHANGE_PREFIX "criu/"
/* Likewise of members of an archive that are no files of its dump ("archive/config.dump"). */
#define EXCHANGE_ARCHIVE_PREFIX "archive/"
/* An empty object of generations whose memory came from several directories. */
#define EXCHANGE_PARENTS "criu-parents"

struct import_options {
	const char *lineage;
	const struct progress *progress; /* may be NULL */
};

struct import_result {
	struct generation gen; /* as committed */
	size_t files;	       /* kept as they are */
	size_t levels;	       /* directories its memory came from, 1 without a parent */
};

/*
 * Makes one complete generation of the dump in the directory `dirfd`, called `path` in messages,
 * and its parents.  R_OK; R_NOT_FOUND (no dump is there); R_DAMAGED (an image or its memory is not
 * whole: reported with file and address); R_UNSUPPORTED (a form not known here, or a file that is
 * none); R_FAILED.  Only on R_OK a generation came into being.
 */
int exchange_import_dir(struct store *store, int dirfd, const char *path,
			const struct import_options *options, struct import_result *result);

/*
 * The same for an archive that the open file is, with all that is beside its dump.  Of archives
 * that are compressed, or come through a pipe, a copy without name is made meanwhile. R_UNSUPPORTED
 * also if it is hostile: the member is named.
 */
int exchange_import_archive(struct store *store, int fd, const char *path,
			    const struct import_options *options, struct import_result *result);

/* Either of them by path.  R_NOT_FOUND, reported, if there is nothing. */
int exchange_import_path(struct store *store, const char *path,
			 const struct import_options *options, struct import_result *result);

struct export_options {
	bool reveal; /* write secret memory as ordinary shared memory; otherwise it is left out */
	const struct store_keys *keys; /* for that; NULL: the store has none */
};

struct export_result {
	size_t files;
	uint64_t bytes_sealed; /* of secret memory, left out */
};

/*
 * Writes a generation as a dump into the empty directory `dirfd`, called `path` in messages, and
 * syncs it: an imported one file by file as it was, but complete where it had parents.  `result`
 * tells how many files were made, also on failure; the caller takes them away then.  R_OK,
 * R_DAMAGED, R_UNSUPPORTED (no key), R_FAILED, all reported.
 */
int exchange_export_dir(struct store_view *view, const struct generation *gen, int dirfd,
			const char *path, const struct export_options *options,
			struct export_result *result);

/*
 * The same into the new or empty directory `path`, of which nothing is left on failure but what was
 * there before.
 */
int exchange_export_path(struct store_view *view, const struct generation *gen, const char *path,
			 const struct export_options *options, struct export_result *result);

/*
 * Writes a generation as a checkpoint archive to `fd`, front to back.  An import of an archive
 * comes back as it was, byte for byte but for the compression, which is made anew; everything else,
 * edits of such an import too, becomes a tar in the same layout with as much about a container as
 * is known.  `result` tells how many files are in it.  R_OK, R_DAMAGED, R_FAILED, all reported.
 */
int exchange_export_archive(struct store_view *view, const struct generation *gen, int fd,
			    const char *path, const struct export_options *options,
			    struct export_result *result);

/* The same into the new file `path`, of which nothing is left on failure, or to standard output if
 * that is "-". */
int exchange_export_archive_path(struct store_view *view, const struct generation *gen,
				 const char *path, const struct export_options *options,
				 struct export_result *result);

#endif
