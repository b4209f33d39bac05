/* Inodes that are open but have lost their name: kept whole, brought back nameless. */
#ifndef SNAP_ENGINE_PROC_FDS_GHOST_H
#define SNAP_ENGINE_PROC_FDS_GHOST_H

#include "engine/proc/fds/fds.h"

/*
 * Does f->link lead to the inode of `f`?  If not, writes what brings it back (a ghost, or the name
 * of another hard link, in "remap-fpath").  `*name` is the path without the kernel's mark of
 * deletion.  R_OK, R_UNSUPPORTED (named), R_FAILED.
 */
int path_take(struct fds_take *take, struct taken_file *f, const char **name);

/* Is it memory the kernel keeps in a file system nobody can see, such as shared anonymous memory
 * opened through /proc/PID/map_files? */
bool is_hidden_memory(const struct taken_file *f);

/* Writes the data of a file (not its holes) as the object `name`. */
int contents_take(struct fds_take *take, const struct taken_file *f, const char *name);
/* Gives the empty file `fd`, open for reading and writing, its size and data back. */
int contents_restore(struct fds_restore *restore, int fd, const char *name, uint64_t size);

/* Reads "remap-fpath"; once for all kinds. */
int remap_load(struct fds_restore *restore);
/* Is file `id` to be brought back from something else than its path? */
bool remap_known(struct fds_restore *restore, uint32_t id);
/* Can it be?  Before anything is created. */
int remap_check(struct fds_restore *restore, uint32_t id, const char *name);
/* Opens it with `flags`; -1 after reporting. */
int remap_open(struct fds_restore *restore, uint32_t id, const char *name, int flags);
void remap_done(struct fds_restore *restore);

#endif
