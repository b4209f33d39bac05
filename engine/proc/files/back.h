/*
 * Putting back the files a generation stored with --with-files and --with-path.
 *
 * Everything is checked first.  Each file changes at one instant (its new contents are written
 * beside it and exchanged with it), but for those somebody else holds, which keep their inode and
 * are written in place.  What was there stays until back_keep(), or returns with back_undo().
 */
#ifndef SNAP_ENGINE_FILES_BACK_H
#define SNAP_ENGINE_FILES_BACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct back;
struct progress;
struct store_view;
struct restore_result;

/* Reads what there is to put back and checks that it can be; `progress` (may be NULL) is told how
 * far back_put() is, and may make it fail.  R_OK, R_NOT_FOUND (nothing was stored
 * with this generation, reported), R_UNSUPPORTED (named), R_DAMAGED, R_FAILED. */
int back_plan(struct store_view *view, uint64_t generation, const struct progress *progress,
	      struct back **back);
/* Is this path going to be put back? */
bool back_has(const struct back *back, const char *path);
/* Puts all of it back.  On failure (reported) back_undo() has to follow. */
int back_put(struct back *back);
/* Takes everything back, as far as it was done.  R_OK, or R_FAILED: what stayed is named. */
int back_undo(struct back *back);
/* Lets go of what was replaced. */
void back_keep(struct back *back);
/* How many files were changed. */
size_t back_count(const struct back *back);
void back_free(struct back *back);

#endif
