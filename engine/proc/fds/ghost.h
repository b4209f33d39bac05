/* Inodes that are open but have lost their name: kept whole, brought back nameless. */
#ifndef SNAP_ENGINE_PROC_FDS_GHOST_H
#define SNAP_ENGINE_PROC_FDS_GHOST_H

#include "engine/proc/fds/contents.h"
#include "engine/proc/fds/fds.h"

/*
 * Does f->link lead to the inode of `f`?  If not, writes what brings it back (a ghost, or another
 * hard link).  `*name` is the path without the kernel's mark of deletion.  R_OK, R_UNSUPPORTED
 * (named), R_FAILED.
 */
int path_take(struct fds_take *take, struct taken_file *f, const char **name);

/* Keeps every ghost met by path_take(), when all files and mappings are known. */
int ghosts_take(struct fds_take *take);
void ghosts_take_end(struct fds_take *take);

/* Is it memory the kernel keeps in a file system nobody can see, such as shared anonymous memory
 * opened through /proc/PID/map_files? */
bool is_hidden_memory(const struct taken_file *f);

/* Reads "remap-fpath" and what belongs to it; once for all kinds. */
int remap_load(struct fds_restore *restore);
/* Is file `id` to be brought back from something else than its path? */
bool remap_known(struct fds_restore *restore, uint32_t id);
/* Can it be?  Before anything is created. */
int remap_check(struct fds_restore *restore, uint32_t id, const char *name);
/* Opens it with `flags`; -1 after reporting. */
int remap_open(struct fds_restore *restore, uint32_t id, const char *name, int flags);
/* Flags and times, when all is placed. */
int remap_finish(struct fds_restore *restore, const struct fds_task *tasks, size_t n);
void remap_done(struct fds_restore *restore);

#endif
