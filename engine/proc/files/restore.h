/*
 * Regular files with a path at a restore: compared with their cookies before anything is created,
 * opened from where they are or from the contents the generation stored.
 */
#ifndef SNAP_ENGINE_FILES_RESTORE_H
#define SNAP_ENGINE_FILES_RESTORE_H

#include "engine/engine.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/files/cookie.h"

struct files_restore;

/* `fn` is told of each difference, once for each path; may be NULL.  NULL: reported. */
struct files_restore *
files_restore_new(enum restore_files policy,
		  void (*fn)(const struct file_difference *difference, void *arg), void *arg);
void files_restore_free(struct files_restore *files);

/* Files that are going to be put back need not be what they were.  `back` may be NULL. */
struct back;
void files_restore_set_back(struct files_restore *files, const struct back *back);

/* The file of that name, which stays valid, is mapped shared and writable: that its times are what
 * they were says nothing of what is in it. */
int files_restore_mapped_shared(struct files_restore *files, const char *name);

/* Reads "snap-files"; once. */
int files_restore_load(struct files_restore *files, struct fds_restore *restore);

/*
 * Compares one file and decides where it is opened from.  R_OK; R_UNSUPPORTED if it differs and the
 * policy does not allow that, which has been told; R_FAILED (reported).
 */
int files_restore_check(struct files_restore *files, const RegFileEntry *reg);

/* After all were checked: says what can be done about those refused, if any. */
void files_restore_conclude(const struct files_restore *files);

/* Those written to since they were compared, and those mapped shared, are compared once more: as
 * long as the target to be replaced ran, it may have done so.  As files_restore_check() and
 * files_restore_conclude(). */
int files_restore_again(struct files_restore *files);

/* Opens it with `flags`; -1 after reporting. */
int files_restore_open(struct files_restore *files, struct fds_restore *restore,
		       const RegFileEntry *reg, int flags);

/* Closes what was held besides the files; the paths of stored copies lead nowhere from now on. */
void files_restore_done(struct files_restore *files);

/* ---- within this room ---- */

/* Looks for the inode of a cookie under another name: by its handle, else in the folder it was in.
 * R_OK with the path (freed by the caller), R_NOT_FOUND. */
int renamed_find(const char *name, const struct cookie *then, const SnapFileEntry *more,
		 char **path);

/*
 * Copies of stored contents, on a file system of our own that is mounted nowhere, under the paths
 * they had.  All zeroes, mount -1, is none yet.
 */
struct stored_copies {
	int mount;
	char **paths; /* relative to it, of the files made so far */
	size_t n;
};
/* The copy of `object` under the path `name`, opened for reading; -1 after reporting. */
int stored_open(struct stored_copies *copies, struct fds_restore *restore, const char *object,
		const RegFileEntry *reg, const struct cookie *then);
void stored_close(struct stored_copies *copies);

#endif
