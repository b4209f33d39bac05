/*
 * Describing a frozen tree in images.
 *
 * Everything is collected first and nothing is stored but images; memory is copied when it is known
 * that nothing will be refused.  A finding that makes a take impossible is named by dump_refuse()
 * and collecting goes on, so that one try shows all of them.
 */
#ifndef SNAP_ENGINE_PROC_DUMP_H
#define SNAP_ENGINE_PROC_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/progress.h"
#include "engine/image/image.h"
#include "engine/proc/capture/survey.h"
#include "engine/proc/freeze.h"
#include "engine/proc/maps.h"
#include "engine/proc/trace.h"

struct asking;
struct capture;
struct capture_source;
struct crew;
struct track;
struct fds_take;
struct ingest;
struct store_keys;
struct dump_shmem;
struct dump_mapped;
struct dump_namespaces;
struct proc_status;

/* Enough that the calls do not count, small enough to stay in the cache of one core. */
#define DUMP_BUFFER_BYTES (1u << 20)

/* One task being described. */
struct dump_task {
	const struct tree_task *task;
	struct maps maps;
	struct survey survey;
	int looked;	   /* what came of looking at its ranges, by any thread */
	bool shares_pages; /* copy-on-write, with others that were forked */
	struct inject_site site;
	TaskKobjIdsEntry ids;
	MmEntry mm;
	size_t room_vmas; /* of its list */
	FsEntry fs;
	uint32_t cwd_id, root_id, exe_id;
	CoreEntry **cores; /* one for each thread */
	SnapThreadEntry **extras;
	int *idle_signals;			       /* of each thread, for inject_ask_begin() */
	struct asking *asking;			       /* the thread being asked; NULL: none is */
	uint64_t sig_caught, sig_ignored, sig_pending; /* the last: those of all its threads */
	uint32_t umask;
	SnapTaskEntry extra;
};

struct dump_ctx {
	struct ingest *ingest; /* NULL: look only */
	struct fds_take *fds;
	const struct store_keys *keys; /* for secret memory; NULL: there are none yet */
	struct track *track;	       /* NULL: writes are not noted */
	bool verify_tracking;
	const struct capture *capture; /* NULL: all is copied */
	const struct tree *tree;
	struct dump_task *tasks; /* as in tree */
	size_t n_tasks;
	struct dump_shmem *shmems;
	size_t n_shmems;
	struct dump_mapped *mapped; /* files met as mappings */
	size_t n_mapped;
	uint8_t *buffer;		    /* DUMP_BUFFER_BYTES that pages pass through */
	struct crew *readers;		    /* once there was much to read */
	struct dump_namespaces *namespaces; /* snap's own, once they are looked at */
	SeccompEntry seccomp;
	CgroupEntry cgroups; /* how the groups the tasks are in were set up */
	char **cgroup_lines; /* "controllers:path" of each that is described there */
	size_t n_cgroup_lines, cgroups_below;
	size_t refused;	       /* findings so far */
	uint64_t pages_found;  /* that had contents of their own */
	uint64_t clone_misses; /* with verify_tracking: that a clone gave otherwise */
	const struct progress *progress;
	void **memory; /* see dump_alloc() */
	size_t n_memory, room_memory;
};

/* Refuses a tree that snap itself is part of: it could not stop itself.  R_OK, R_UNSUPPORTED
 * (named), R_NOT_FOUND without such a process (named), R_FAILED. */
int dump_check_root(pid_t root);

/*
 * Before the freeze: gets the memory that describing about that many tasks takes, so that there are
 * no page faults of our own while a tree stands still.  Only the first call does anything about the
 * heap, of which it keeps what is freed.
 */
void dump_ready(size_t tasks);

/* Starts on a frozen tree.  R_OK or R_FAILED; dump_end() in any case. */
int dump_begin(struct dump_ctx *ctx, const struct tree *tree, struct ingest *ingest,
	       uint64_t ghost_max_bytes);
void dump_end(struct dump_ctx *ctx);

/* Collects everything but memory contents.  R_OK, R_UNSUPPORTED (all named), R_NOT_FOUND (a thread
 * died meanwhile), R_FAILED. */
int dump_collect(struct dump_ctx *ctx);
/* Stores the images and the contents of memory. */
int dump_store(struct dump_ctx *ctx);

/* R_UNSUPPORTED of another module, which has named its finding already, is counted. */
int dump_count_refusal(struct dump_ctx *ctx, int rc);
/* Asks all tasks what only they can ask. */
int dump_ask_tasks(struct dump_ctx *ctx);

/* Is it the first living task of its address space? */
bool dump_has_own_space(const struct dump_ctx *ctx, const struct dump_task *t);

/* Zeroed memory that lives until dump_end(); NULL: reported. */
void *dump_alloc(struct dump_ctx *ctx, size_t bytes);
char *dump_strdup(struct dump_ctx *ctx, const char *text);

/* Names a finding that makes the take impossible: "pid N: " and the message. */
void dump_refuse(struct dump_ctx *ctx, pid_t pid, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The collectors; each fills its part of `t`.  R_OK also after dump_refuse(); R_NOT_FOUND,
 * R_FAILED.
 */
int dump_namespaces(struct dump_ctx *ctx, const struct dump_task *t);
int dump_kobj_ids(struct dump_ctx *ctx); /* of all tasks at once */
int dump_mm(struct dump_ctx *ctx, struct dump_task *t);
/* An entry more in the list of ranges, not set. */
int dump_vma_add(struct dump_ctx *ctx, struct dump_task *t, VmaEntry **entry);
/* The status of a range that the kernel gives every task; 0: it is none. */
uint32_t dump_kernel_status(const struct vma *vma);
/*
 * Before and after all tasks are described: reads their ranges, and has other threads look at pages
 * and read texts meanwhile; both are over, and the surveys there, when the second returns, which is
 * called whenever the first gave R_OK.
 */
int dump_ranges_begin(struct dump_ctx *ctx);
int dump_ranges_finish(struct dump_ctx *ctx);
int dump_thread(struct dump_ctx *ctx, struct dump_task *t, size_t thread);
int dump_creds(struct dump_ctx *ctx, const struct proc_status *status, CredsEntry **creds);
int dump_seccomp(struct dump_ctx *ctx, const struct tracee *th, const struct proc_status *status,
		 ThreadCoreEntry *core);
int dump_sched(struct dump_ctx *ctx, const struct tracee *th, ThreadCoreEntry *core,
	       SnapThreadEntry *extra);
/* `pending`: which signals are, by its status. */
int dump_pending(struct dump_ctx *ctx, const struct tracee *th, bool shared, uint64_t pending,
		 SignalQueueEntry **queue);
int dump_limits(struct dump_ctx *ctx, const struct dump_task *t, TaskCoreEntry *core);
int dump_misc(struct dump_ctx *ctx, struct dump_task *t, TaskCoreEntry *core);
/* The control groups of all threads of the task. */
int dump_cgroups(struct dump_ctx *ctx, struct dump_task *t);
/*
 * What only the thread itself can ask, from t->site; of the first one what its process has, too. In
 * three parts, so that other tasks are asked while one thread is on its way: its calls are begun,
 * their results fetched, and it is where it was again.  Once the first gave R_OK the other two
 * follow, whatever the second gives.
 */
int dump_remote_begin(struct dump_ctx *ctx, struct dump_task *t, size_t thread);
int dump_remote_gather(struct dump_task *t, size_t thread);
int dump_remote_end(struct dump_ctx *ctx, struct dump_task *t, size_t thread);
/* Registers of all kinds. */
int dump_registers(struct dump_ctx *ctx, const struct tracee *th, CoreEntry *core);

/* The id of the shared anonymous memory behind a mapping, noted for dump_shmems(). */
int dump_shmem_id(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, uint64_t *id);
/* Stores the contents and sizes of those noted. */
int dump_shmems(struct dump_ctx *ctx);
/* Stores what the private mappings of a task hold, as object "pages-PID" of the task `pid`. */
int dump_memory(struct dump_ctx *ctx, struct dump_task *t, pid_t pid,
		const struct capture_source *source);
/* Has this range pages of its own that dump_memory() stores? */
bool dump_has_own_pages(const VmaEntry *vma);
/* Are the pages of this region read, or are they known? */
bool dump_reads(const struct dump_ctx *ctx, const struct survey_region *region);
/* Reads memory of a held task, also where it is not readable.  R_OK or R_FAILED (reported). */
int dump_read(pid_t pid, uint64_t address, void *buf, size_t len);

#endif
