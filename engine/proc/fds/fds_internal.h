/* What the common files of fds/ share; kinds include fds.h only. */
#ifndef SNAP_ENGINE_PROC_FDS_INTERNAL_H
#define SNAP_ENGINE_PROC_FDS_INTERNAL_H

#include "engine/proc/fds/fds.h"

/* ---- take ---- */

struct taken_table {
	uint32_t id;
	pid_t pid; /* one task that has it */
	FdinfoEntry *entries;
	size_t n;
};

struct inode_id {
	const char *what;
	dev_t dev;
	ino_t ino;
	uint32_t id;
};

struct taken_lock {
	uint32_t kind, type; /* LOCK_KIND_*, F_RDLCK .. */
	uint32_t file_id;
	dev_t dev;
	ino_t ino;
	pid_t pid; /* who sets it again, through its `fd` */
	int fd;
	int64_t start, len; /* len 0: to the end */
};

struct ghost_taken;

struct arena_block {
	struct arena_block *next;
	max_align_t data[];
};

/*
 * Invariants: `by_kcmp` holds the files with `path_only` unset, in the order kcmp gives their
 * descriptions, which does not change while we hold them; `tables` are in the order kcmp gives
 * theirs; `files` holds all files, files[i]->id == i + 1.
 */
struct fds_take {
	struct ingest *ingest;
	pid_t self; /* our own, as which our descriptors are compared */
	struct taken_file **files;
	size_t n_files, room_files;
	struct taken_file **by_kcmp;
	size_t n_by_kcmp, room_by_kcmp;
	struct taken_table *tables;
	size_t n_tables, room_tables;
	struct taken_table last; /* its entries are those of one of `tables` */
	pid_t *pids;
	size_t n_pids, room_pids;
	struct inode_id *inodes;
	size_t n_inodes, room_inodes;
	struct taken_lock *locks;
	size_t n_locks, room_locks;
	struct taken_secret *secrets;
	size_t n_secrets, room_secrets;
	struct arena_block *arena;
	struct image_writer images[IMAGE_KINDS];
	bool image_used[IMAGE_KINDS];
	uint64_t ghost_max_bytes;      /* 0: any */
	struct fds_prepared *prepared; /* may be NULL */
	struct ghost_taken *ghosts;
	size_t n_ghosts, room_ghosts;
	enum tcp_policy tcp;
	bool ends;
	struct fds_hold *hold;
	int result; /* worst of what was refused or failed so far */
};

/* Remembers the worst: a failure over a refusal over nothing.  Gives `result` back. */
int take_note_result(struct fds_take *take, int result);

/* Orders (pid1, a) before (-1), as (0) or behind (1) (pid2, b) by kcmp `type`; 2 if the kernel will
 * not say (reported). */
int take_kcmp_order(pid_t pid1, pid_t pid2, int type, unsigned long a, unsigned long b);

/* Where, of `n` things in order, the one of `pid` and `fd` is, or belongs; `order` compares it with
 * the one at `at` as take_kcmp_order() does.  R_OK (there), R_NOT_FOUND, R_FAILED. */
int take_search(const struct fds_take *take, size_t n,
		int (*order)(const struct fds_take *take, pid_t pid, int fd, size_t at), pid_t pid,
		int fd, size_t *at);

/* Where fd `fd` of `pid` is in by_kcmp, or belongs.  R_OK (there), R_NOT_FOUND, R_FAILED. */
int take_search_file(struct fds_take *take, pid_t pid, int fd, size_t *at);

/* Registers and dumps a description that belongs at `at` of by_kcmp.  Takes over `local`.  `info`
 * is the text of its fdinfo, of any descriptor; NULL: not read yet.  `*out` stays as it is if there
 * is no entry for it. */
int take_add_description(struct fds_take *take, pid_t pid, int fd, int local, size_t at,
			 const char *info, struct taken_file **out);

/* Fills st, link, info, flags, pos, mnt_id and fown of a file whose local, pid and fd are set. */
int taken_file_look(struct fds_take *take, struct taken_file *f);

/* Notes the locks in `info`, the /proc/PID/fdinfo/FD text of one descriptor of `f`. */
int locks_note(struct fds_take *take, const struct taken_file *f, pid_t pid, int fd,
	       const char *info);
/* Writes the "filelocks" image. */
int locks_take(struct fds_take *take);

/* Makes room for one more element of `size` bytes.  R_OK or R_FAILED, reported. */
int grow(void *array_pointer, size_t n, size_t *room, size_t size);

/* ---- restore ---- */

struct restored_table {
	uint32_t id;
	FdinfoEntry **entries; /* ascending by fd */
	size_t n;
	bool placed;
};

struct fds_restore {
	struct store_view *view;
	struct store *store; /* and where keys come from, and these once opened */
	const struct key_source *key_source;
	struct store_keys *keys;
	int secrets_refused; /* why there can be no secrets, which has been said */
	uint64_t generation;
	struct restored_file *files; /* ascending by id */
	size_t n_files, room_files;
	struct restored_table *tables;
	size_t n_tables, room_tables;
	ProtobufCMessage **messages; /* everything unpacked */
	size_t n_messages, room_messages;
	int base, limit;  /* our numbers are base <= fd < limit, used by no table */
	int channel_here; /* socket to hand files over: our end, and the end tasks inherit */
	int channel_task;
	pid_t *pids; /* of all tasks, from "pstree" */
	size_t n_pids, room_pids;
	struct fds_restore_kinds kinds;
	struct files_restore *file_check;
	const struct progress *progress;
	const FileLockEntry **locks;
	size_t n_locks, room_locks;
};

/* The table of the first task.  False if there is none. */
bool fds_restore_first_table(struct fds_restore *restore, uint32_t *files_id);

/* Ends what the kinds began, and closes every local descriptor. */
void fds_restore_close(struct fds_restore *restore);

/* Signal owner and flags of an entry, whatever its type; NULL where the type has none. */
const FownEntry *file_entry_fown(const FileEntry *entry, uint32_t *flags);

/* The row of a type; NULL for one this snap does not know. */
const struct fd_kind *fd_kind_of(FdTypes type);

/* Sets owner and signal of every file that has them. */
int fown_restore(struct fds_restore *restore);

/* Reads "filelocks". */
int locks_load(struct fds_restore *restore);
/* Sets the locks from inside the tasks that own them. */
int locks_restore(struct fds_restore *restore, const struct fds_task *tasks, size_t n);

/* Makes the socket that late files go through, if there are any. */
int late_prepare(struct fds_restore *restore);

#endif
