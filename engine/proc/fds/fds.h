/*
 * Open files of a target: finding them, describing them in images, bringing them back.
 *
 * Take side.  One `struct fds_take` for a take.  Each open file description (what dup and fork
 * share) is one `struct taken_file`, however many descriptors of however many tasks refer to it;
 * kcmp tells them apart.  We hold a descriptor of our own of each (pidfd_getfd), so that kinds ask
 * and peek from outside without touching the target.  All are closed before the target is released.
 *
 * Restore side.  One `struct fds_restore` for a restore.  Every file object is opened in this
 * process, at high numbers that no task uses, before the first task is made; tasks inherit them and
 * each table is put in order by remote calls.  What needs living tasks (pidfds, /proc/PID files)
 * is opened when they are there and handed over through a socket.
 *
 * Each kind of file is one row of the table in kinds.c and one source file.
 */
#ifndef SNAP_ENGINE_PROC_FDS_FDS_H
#define SNAP_ENGINE_PROC_FDS_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "engine/image/image.h"

struct ingest;
struct store;
struct store_view;
struct key_source;
struct tracee;
struct inject_site;
struct fds_take;
struct fds_restore;
struct fd_kind;

/* ---- take ---- */

/* One open file description of the target. */
struct taken_file {
	uint32_t id;		    /* in the images, from 1 */
	const struct fd_kind *kind; /* NULL while being probed */
	pid_t pid;	/* where it was met first; 0 when met in a queue or as a mapping */
	int fd;		/* its number there; -1 when not in a table */
	int local;	/* our descriptor of the same description, valid during the take */
	bool path_only; /* local was opened by path (mapping, exe, cwd, root) */
	struct stat st;
	bool has_btime;
	struct timespec btime; /* when it was made, where its file system knows */
	uint64_t fs;	       /* magic number of its file system, 0 while not known */
	char *link;	       /* text of the /proc/PID/fd link */
	char *info;	       /* text of /proc/PID/fdinfo/FD */
	uint32_t flags;	       /* open flags without O_CLOEXEC */
	uint64_t pos;
	int mnt_id;
	FownEntry fown;
	FileEntry entry; /* what dump fills in: type, id and one member */
	/* Of those reopened by path, filled in further by files_take(); NULL for all others. */
	SnapFileEntry *more;
	bool named; /* `link` is a path that leads to it */
};

/*
 * Before the tree below `root` is frozen: learns what the lineage's newest generation knows of
 * deleted files, and reads those that are large and have changed, as objects of `ingest`.  R_OK or
 * R_FAILED; fds_prepared_end() in any case, after fds_take_end().
 */
struct fds_prepared;
int fds_prepare(struct ingest *ingest, pid_t root, struct fds_prepared **prepared);
void fds_prepared_end(struct fds_prepared *prepared);
/* For a generation that is none of a whole tree: what is known of deleted files stays known.  R_OK
 * or R_FAILED. */
int fds_carry_ghosts(struct ingest *ingest);

/* Begins; nothing is touched yet.  `ingest` may be NULL to look only (snap check).  Deleted files
 * with more allocated bytes than `ghost_max_bytes` (0: any) are refused. */
int fds_take_begin(struct ingest *ingest, uint64_t ghost_max_bytes, struct fds_take **take);

/* Says what is known beforehand; `prepared` may be NULL.  Before the first task. */
void fds_take_set_prepared(struct fds_take *take, struct fds_prepared *prepared);

/* What becomes of connections; TCP_CLOSE if not called.  `ends`: the tree is going to be ended, so
 * that connections to keep are silenced (fds_take_hold).  Before the first task. */
void fds_take_set_tcp(struct fds_take *take, enum tcp_policy policy, bool ends);
enum tcp_policy fds_take_tcp(struct fds_take *take);
bool fds_take_ends(struct fds_take *take);

/*
 * Connections of a tree that is going to be ended.  They are under repair, so that they close
 * without telling their peers.  fds_take_hold takes them out of the take, NULL if there are none;
 * without it fds_take_close brings them back to life.  fds_hold_end after the tree has been ended
 * (`ended`), or to bring them back to life because it was not.
 */
struct fds_hold;
struct fds_hold *fds_take_hold(struct fds_take *take);
void fds_hold_end(struct fds_hold *hold, bool ended);

/*
 * Registers and dumps the fd table of one stopped task, all threads of which have the same.
 * `*files_id` is its number in the images: tasks that share a table get the same.  R_OK,
 * R_UNSUPPORTED (named), R_FAILED.
 */
int fds_take_task(struct fds_take *take, pid_t pid, uint32_t *files_id);

/*
 * Registers what a link of /proc/PID leads to: `what` is "exe", "cwd", "root" or
 * "map_files/START-END".  `flags` (O_RDONLY, O_RDWR) are those to open it with at restore.  Equal
 * files with equal flags get one id.  Knows deleted ones and memfds as fds_take_task does.
 */
int fds_register_path_file(struct fds_take *take, pid_t pid, const char *what, int flags,
			   uint32_t *id);

/* The same for a path as seen by this process. */
int fds_register_path(struct fds_take *take, const char *path, int flags, uint32_t *id);

/*
 * Registers an open file of this process that stands for one of the target (received from a queue).
 * Takes over `local`.  `*id` is that of the description, an old one if it was known.
 */
int fds_register_local(struct fds_take *take, int local, uint32_t *id);

/* A second entry for the same file under an id of its own and another kind, which dumps it: the
 * path of a FIFO or terminal. */
int fds_take_twin(struct fds_take *take, const struct taken_file *f, const struct fd_kind *kind,
		  uint32_t *id);

/* Is inode `ino` shared anonymous memory that is open as a file, and so kept with the files? */
bool fds_take_has_shmem(struct fds_take *take, uint64_t ino);

/* One inode of memfd_secret(2): `local` is a descriptor of ours of it, -1 if it is only mapped. */
struct taken_secret {
	dev_t dev;
	ino_t ino;
	uint64_t size;
	uint32_t shmid;
	int local;
};
/* Those met so far.  For dump_secret.c. */
const struct taken_secret *fds_take_secrets(struct fds_take *take, size_t *n);
/* Is file `id` secret memory? */
bool fds_take_is_secret(struct fds_take *take, uint32_t id);

/* Is `pid` one of the tasks given to fds_take_task so far? */
bool fds_take_has_pid(struct fds_take *take, pid_t pid);

/* The first of them: the root of the tree. */
pid_t fds_take_root(struct fds_take *take);

/* Writes "fdinfo-N" and the images of the kinds.  All tasks and mappings are known. */
int fds_take_finish(struct fds_take *take);
/* Writes "files" and "snap-files", when what is noted about contents is known (files_take()). */
int fds_take_finish_files(struct fds_take *take);

/* How much of deleted files was read for this take, as far as it has got. */
uint64_t fds_take_ghost_bytes(const struct fds_take *take);

/* Stores what was only cloned while the tree was frozen; it may run by now.  R_OK or R_FAILED. */
int fds_take_store(struct fds_take *take);

/* Closes every descriptor held of the target's, before it is released; fds_take_end does it too. */
void fds_take_close(struct fds_take *take);
void fds_take_end(struct fds_take *take);

/* For kinds. */
struct ingest *fds_take_ingest(struct fds_take *take); /* NULL when only looking */
/* Adds a connection that has been silenced. */
int fds_take_hold_tcp(struct fds_take *take, int local);
/* Memory that lives as long as the take, zeroed; entries of dump are made of it.  NULL: reported.
 */
void *fds_take_alloc(struct fds_take *take, size_t bytes);
char *fds_take_strdup(struct fds_take *take, const char *text);
/* Writes an image of one entry with a number in its name ("ghost-file-3") at once. */
int fds_take_put_one(struct fds_take *take, enum image_kind_id image, uint32_t number,
		     const ProtobufCMessage *entry);
/* A number for a thing of a kind (a pipe, a memfd): the same for the same (kind, dev, ino); sets
 * `*fresh` the first time. */
uint32_t fds_take_inode_id(struct fds_take *take, const char *what, dev_t dev, ino_t ino,
			   bool *fresh);
/* Appends one entry to an image of the take that has no number in its name ("pipes-data"), with a
 * payload behind it if any; all are written by fds_take_finish. */
void fds_take_put(struct fds_take *take, enum image_kind_id image, const ProtobufCMessage *entry,
		  const void *payload, size_t payload_bytes);
/* Finds a description of the take: the one behind fd `fd` of `pid`. NULL if unknown. */
struct taken_file *fds_take_find(struct fds_take *take, pid_t pid, int fd);
/* The registered description which is `local` of this process; NULL if unknown. */
struct taken_file *fds_take_find_local(struct fds_take *take, int local);
/* Calls `fn` for every registered description in order of ids until it returns non-zero. */
int fds_take_each(struct fds_take *take, int (*fn)(struct taken_file *f, void *arg), void *arg);
/* "pid 12 fd 3 (/path)" for messages; a static buffer. */
const char *taken_file_name(const struct taken_file *f);

/* The magic number of its file system; 0 if that cannot be told. */
uint64_t taken_file_fs(const struct taken_file *f);
/* Gets a descriptor of our own of fd `fd` of `pid`; -1 with errno set. */
int fds_open_target(pid_t pid, int fd);
/* Finds "key:\tvalue" in a fdinfo text; NULL, or where the value begins. */
const char *fdinfo_value(const char *info, const char *key);

/* ---- restore ---- */

/* One description being brought back. */
struct restored_file {
	uint32_t id;
	const struct fd_kind *kind;
	const FileEntry *entry;
	int local;    /* our descriptor, at a high number; -1 while not open */
	bool late;    /* opened when the tasks exist, by kind->late */
	bool opening; /* restore is under way (to find circles) */
	void *priv;   /* of the kind, malloced, freed with the restore */
};

/* One task, as far as files are concerned; filled in by the caller. */
struct fds_task {
	pid_t pid;
	uint32_t files_id;
	struct tracee *tracee; /* stopped, remote calls begun */
	struct inject_site *site;
};

/* Reads the images of generation `gen`; `view` must stay open until fds_restore_end. */
int fds_restore_begin(struct store_view *view, uint64_t gen, struct fds_restore **restore);

/* Told how far contents are, and asked whether to go on (NULL: nobody); kept by the caller until
 * fds_restore_end.  When not, the results are R_FAILED. */
struct progress;
void fds_restore_set_progress(struct fds_restore *restore, const struct progress *progress);
const struct progress *fds_restore_progress(struct fds_restore *restore);

/* What compares regular files and opens them: before fds_restore_check, kept by the caller until
 * fds_restore_end.  Without it they are opened as they are. */
struct files_restore;
void fds_restore_set_files(struct fds_restore *restore, struct files_restore *files);
struct files_restore *fds_restore_files(struct fds_restore *restore);

/* Where the key to secret memory comes from (NULL: from where the store says); before
 * fds_restore_check.  Both have to stay. */
void fds_restore_set_keys(struct fds_restore *restore, struct store *store,
			  const struct key_source *source);
/* Is file `id` secret memory?  After fds_restore_check. */
bool fds_restore_is_secret(struct fds_restore *restore, uint32_t id);
/* Lets a process (0: this one) lock as much memory as it may be let.  Who has secret memory mapped
 * needs that; a restored task gets its own limit later. */
void secret_may_lock(pid_t pid);

/* The pid of the tree's root. */
pid_t fds_restore_root(struct fds_restore *restore);

/* Reads "fdinfo-N" of one table; call once for each different table before fds_restore_check. */
int fds_restore_table(struct fds_restore *restore, uint32_t files_id);

/* Everything that can be checked before anything is created: kinds, paths, sizes, types. */
int fds_restore_check(struct fds_restore *restore);

/* Opens all files in this process.  The numbers stay the same in the tasks forked after. */
int fds_restore_open(struct fds_restore *restore);

/* The number of an opened file, for a remote mmap or fchdir (exe, cwd, root, mappings); -1 if
 * unknown.  Valid in every task until fds_restore_place. */
int fds_restore_fd(struct fds_restore *restore, uint32_t id);
/* The same for shared anonymous memory that is open as a file, by its inode; -1 if it is in no file
 * of the images, or after a failure (`*failed`, reported).  For restore only until
 * fds_restore_finish. */
int fds_restore_shmem(struct fds_restore *restore, uint64_t shmid, bool *failed);
/* The path a file was recorded under; NULL if unknown. */
/* Says that file `id` is mapped as if opened with `flags`.  CRIU keeps those with the mapping only.
 */
void fds_restore_mapped(struct fds_restore *restore, uint32_t id, uint32_t flags);
const char *fds_restore_path(struct fds_restore *restore, uint32_t id);

/*
 * Puts the fd table of one task in order.  The whole tree has been made and every mapping of this
 * task is in place.  The second task of a shared table does nothing.
 */
int fds_restore_place(struct fds_restore *restore, const struct fds_task *task);

/*
 * After every task has its table: late files, epoll sets, owners, locks, terminals.  `tasks` are
 * all, each in a process group and session of its own as recorded.
 */
int fds_restore_finish(struct fds_restore *restore, const struct fds_task *tasks, size_t n);

void fds_restore_end(struct fds_restore *restore);

/* For kinds. */
/* Where the kinds keep what spans several files, freed by their `done`; NULL at first. */
struct fds_restore_kinds {
	struct remaps *remaps;
	struct pipes *pipes;
	struct memfds *memfds;
	struct ttys *ttys;
	struct sockets *sockets;
	bool tcp_resumed; /* a connection that was kept goes on */
};
/* The entry of a file; NULL if there is none (not reported). */
const FileEntry *fds_restore_entry(struct fds_restore *restore, uint32_t id);
struct fds_restore_kinds *fds_restore_kinds(struct fds_restore *restore);
/* Opens the file `id` now if it is not yet; its restored_file, NULL on failure (reported). */
struct restored_file *fds_restore_file(struct fds_restore *restore, uint32_t id);
/* The same without opening; NULL if there is none (not reported). */
struct restored_file *fds_restore_known(struct fds_restore *restore, uint32_t id);
/* Calls `fn` for every file in order of ids until it returns non-zero, which is then the result. */
int fds_restore_each_file(struct fds_restore *restore,
			  int (*fn)(struct fds_restore *restore, struct restored_file *f,
				    void *arg),
			  void *arg);
/* The file at descriptor `fd` of a table; 0 if there is none. */
uint32_t fds_restore_id_at(struct fds_restore *restore, uint32_t files_id, int fd);
/* Takes over `fd` as the local descriptor of `f`, moved to a high number.  R_OK or R_FAILED. */
int fds_restore_adopt(struct fds_restore *restore, struct restored_file *f, int fd);
/* The same, and then fds_restore_flags(). */
int fds_restore_adopt_as(struct fds_restore *restore, struct restored_file *f, int fd,
			 uint32_t flags, int64_t pos);
/* Moves any other descriptor to a high number, where tasks inherit it and drop it by themselves. */
int fds_restore_high(struct fds_restore *restore, int fd);
/*
 * The entries of an image without a number: calls `fn` with each message, which lives until
 * fds_restore_end, and its payload (valid in the call), whose size `payload_bytes` tells from the
 * message (NULL: none).  `fn` returns R_*; not R_OK ends it.  An absent image has no entries.
 */
int fds_restore_each(struct fds_restore *restore, enum image_kind_id image,
		     size_t (*payload_bytes)(const ProtobufCMessage *entry),
		     int (*fn)(struct fds_restore *restore, const ProtobufCMessage *entry,
			       const void *payload, size_t bytes));
/* Is `pid` one of the generation's tasks? */
bool fds_restore_has_pid(struct fds_restore *restore, pid_t pid);
struct store_view *fds_restore_view(struct fds_restore *restore);
uint64_t fds_restore_generation(struct fds_restore *restore);
/* A call made by the task; `*ret` is what the kernel returned.  R_OK, R_FAILED (reported, or
 * interrupted). */
int fds_try(const struct fds_task *task, int64_t *ret, long nr, uint64_t a0, uint64_t a1,
	    uint64_t a2);
/* A call made by the task, which has to succeed: R_OK with its result in `*ret`, or R_FAILED, which
 * is reported with `what`. */
int fds_call(const struct fds_task *task, const char *what, int64_t *ret, long nr, uint64_t a0,
	     uint64_t a1, uint64_t a2);
/* Sets flags (O_NONBLOCK, O_APPEND, O_ASYNC ...) that open did not, and the offset if pos >= 0. */
int fds_restore_flags(struct restored_file *f, uint32_t flags, int64_t pos);
/* One task that holds `id`, and the number there; false if it is in no table. */
bool fds_restore_holder(struct fds_restore *restore, uint32_t id, uint32_t *files_id, int *fd);

/* ---- kinds ---- */

struct fd_kind {
	const char *name; /* for people: "pipe" */
	FdTypes type;	  /* of its entry in the images */
	/* Take.  Is this one ours?  Asked in the order of the table. */
	bool (*probe)(const struct taken_file *f);
	/* Fills f->entry and writes what belongs to it.  R_UNSUPPORTED after naming it. */
	int (*dump)(struct fds_take *take, struct taken_file *f);
	/* All files of all tasks are known.  May be NULL, as all below. */
	int (*dump_end)(struct fds_take *take);
	/* Restore.  Images of the kind; once, if any file of the kind exists. */
	int (*load)(struct fds_restore *restore);
	int (*check)(struct fds_restore *restore, struct restored_file *f);
	/* Opens it in this process and calls fds_restore_adopt. */
	int (*open)(struct fds_restore *restore, struct restored_file *f);
	/* Second pass, when every file that is not late is open: connect, fill queues. */
	int (*link)(struct fds_restore *restore, struct restored_file *f);
	/* In place of open where the tasks must exist; f->late was set by check. */
	int (*late)(struct fds_restore *restore, struct restored_file *f,
		    const struct fds_task *tasks, size_t n);
	/* Last pass, tasks exist and have their tables; `task` and `fd` are one place where it is,
	 * NULL and -1 if it is in no table. */
	int (*finish)(struct fds_restore *restore, struct restored_file *f,
		      const struct fds_task *task, int fd);
	/* The same once for all files of the kind, after that. */
	int (*finish_all)(struct fds_restore *restore, const struct fds_task *tasks, size_t n);
	/* The kind is done with (undo of load and what was held besides the files): when the tasks
	 * are about to run, or after a failure.  May be called twice. */
	void (*done)(struct fds_restore *restore);
	/* One line about an entry for people (snap show). */
	void (*describe)(const FileEntry *entry, char *buf, size_t len);
};

/* The rows, ended by NULL.  Files of a kind not listed are refused by name. */
extern const struct fd_kind *const fd_kinds[];
extern const struct fd_kind fd_kind_reg, fd_kind_pipe, fd_kind_fifo, fd_kind_eventfd, fd_kind_epoll,
    fd_kind_timerfd, fd_kind_signalfd, fd_kind_inotify, fd_kind_memfd, fd_kind_pidfd, fd_kind_tty,
    fd_kind_ns;
extern const struct fd_kind fd_kind_unix, fd_kind_inet, fd_kind_netlink, fd_kind_packet;

#endif
