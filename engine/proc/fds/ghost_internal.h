/* What the files about ghosts share. */
#ifndef SNAP_ENGINE_PROC_FDS_GHOST_INTERNAL_H
#define SNAP_ENGINE_PROC_FDS_GHOST_INTERNAL_H

#include "engine/proc/fds/contents.h"
#include "engine/proc/fds/fds_internal.h"

/* ---- take ---- */

/* A deleted file that was read before the tree was frozen. */
struct ghost_read {
	uint32_t id;
	struct stat st; /* before it was read */
	struct timespec btime;
	bool settled;
	bool used;
	struct contents_plan plan;
};

/* What is known before the tree is frozen. */
struct fds_prepared {
	SnapGhostEntry **old; /* of the lineage's newest generation */
	size_t n_old, room_old;
	struct ghost_read *reads;
	size_t n_reads, room_reads;
};

/* One deleted inode of the target. */
struct ghost_taken {
	uint32_t id;
	struct taken_file *f; /* the description it was met by first */
	bool mapped;	      /* shared and writable, by any task */
	bool leased;
	struct contents_plan plan;
	int clone; /* of its data, to be read when the tree runs again; -1 */
};

/* A number that is the same for the same inode in every take, where chance allows it: what is
 * stored under it is compared with what the last generation stored under it. */
uint32_t ghost_id(const struct fds_take *take, const struct fds_prepared *prepared, dev_t dev,
		  ino_t ino);

/* "ghost-N" */
void ghost_object_name(char name[32], uint32_t id);

/* The time the inode was made, zeroes where that is not known. */
struct timespec ghost_btime(int fd);

/* Would any change since `st` was asked for show in it?  `means` tells how its extents were found.
 */
bool ghost_settled(const struct stat *st, enum extents_means means);

/* The entry of the last generation about an inode that is as it was then; NULL if there is none. */
SnapGhostEntry *ghost_known(const struct fds_prepared *prepared, uint32_t id, const struct stat *st,
			    const struct timespec *btime);

/* Reads extended attributes and flags; `fd` is open for reading, or -1.  R_OK or R_FAILED. */
int ghost_traits_take(struct fds_take *take, const struct taken_file *f, int fd,
		      SnapGhostEntry *entry);

/* Notes a deleted inode; what is kept of it is decided by ghosts_take().  R_OK or R_FAILED. */
int ghost_note(struct fds_take *take, struct taken_file *f, uint32_t *id);

/* A file deleted under this name, alive under an unknown one: writes what finds it again.
 * R_OK, R_UNSUPPORTED (its file system cannot; not reported). */
int ghost_link_take(struct fds_take *take, const struct taken_file *f);

/* ---- restore ---- */

/* An inode without a name, made again; every file of it is opened through `master`. */
struct ghost {
	uint32_t id;
	int master;
	GhostFileEntry *entry;
	const SnapGhostEntry *more; /* NULL in images of others */
};

/* Makes it under its old name, or beside it if that is taken, opens it and takes the name away.
 * R_OK, R_DAMAGED, R_FAILED, all reported. */
int ghost_make(struct fds_restore *restore, struct ghost *ghost, const char *name);

/* Gives an inode its owner, mode and attributes.  R_OK or R_FAILED, reported with `name`. */
int ghost_dress(const struct ghost *ghost, const char *name);
/* Its flags and times, when nothing is done to it any more. */
int ghost_finish(const struct ghost *ghost);
/* Flags that only count from the beginning on. */
void ghost_early_flags(const struct ghost *ghost);

/* Finds the file of a link entry in the file system of `name`.  An O_PATH descriptor, or -1. */
int ghost_link_open(const SnapLinkEntry *link, const char *name);

#endif
