/*
 * Building a process tree from a generation.
 *
 * Everything is driven from outside: this process forks one seed, which becomes the root; every
 * further task and thread is made by a remote clone3 of its parent, inherits the file objects
 * opened here, and is then turned into what it was by remote calls.  Until the last step every task
 * is traced with PTRACE_O_EXITKILL, so that nothing of a restore survives its failure.
 *
 * The files, in the order they come into play:
 *   plan.c     images into structs                    session.c  who is born where, helpers
 *   check.c    features of this machine               spawn.c    seed, root, children
 *   living.c   the target to be replaced              pids.c     numbers that must be free
 *   scratch.c  where remote calls are made from     remote.c   those calls
 *   group.c    process groups, helpers leave          zombie.c   dead tasks die again
 *   shmem.c    shared anonymous memory                layout.c   the address space
 *   fill.c     contents                               mmprops.c  what the kernel notes about it
 *   inherit.c  what is shared copy-on-write           compare.c  contents of two tasks
 *   thread.c   threads, per-thread state              props.c    limits, scheduling, names, cgroup
 *   cgroup.c   control groups                       cgroup_make.c  those that are gone
 *   creds.c    identity, filters                      signals.c  actions, timers, pending signals
 *   launch.c   registers, the common start        xstate.c   extended registers
 *   stop.c     interruptions
 */
#ifndef SNAP_ENGINE_REBUILD_REBUILD_H
#define SNAP_ENGINE_REBUILD_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/progress.h"
#include "base/result.h"
#include "engine/proc/trace.h"
#include "store/store.h"

#include "cgroup.pb-c.h"
#include "core.pb-c.h"
#include "mm.pb-c.h"
#include "pstree.pb-c.h"
#include "snap.pb-c.h"
#include "task.pb-c.h"

struct fds_restore;
struct fds_task;

/* Ranges that the kernel puts into every task itself, with VMA_STATUS_* of image.h. */
#define VMA_OF_KERNEL (VMA_STATUS_VDSO | VMA_STATUS_VVAR | VMA_STATUS_VSYSCALL)

enum task_kind {
	TASK_ALIVE,
	TASK_STOPPED, /* by job control */
	TASK_ZOMBIE,
	TASK_HELPER, /* stands in for a dead leader of a session or group while the tree is made */
};

struct rebuild_task;

struct rebuild_thread {
	struct rebuild_task *task;
	pid_t tid;
	CoreEntry *core;	/* NULL for helpers */
	SnapThreadEntry *extra; /* NULL if the image is absent */
	uint8_t *xstate;	/* as ptrace takes it */
	size_t xstate_bytes;
	uint8_t *xstate_made; /* where it is not in `extra`; freed with the plan */
	struct tracee tracee;
	struct inject_site
	    site;    /* one thread at a time has the right to one: so each has its own */
	bool exists; /* made, traced and stopped */
};

/* How far a range has come. */
struct rebuild_vma {
	bool opened;   /* mapped writable only to be filled */
	bool early;    /* mapped and filled before further tasks are made, which inherit it */
	bool inherits; /* the task is born with it: range `from` of its source */
	bool mapped, filled;
	size_t from;
};

struct rebuild_task {
	struct rebuild *r;
	enum task_kind kind;
	pid_t pid, pgid, sid;		/* as they shall be; foreign ones already replaced */
	struct rebuild_task *parent;	/* NULL for the root */
	struct rebuild_task *maker;	/* who calls clone3; not the parent: with CLONE_PARENT */
	pid_t born_sid;			/* session it has to be born into, 0: any */
	bool made_early;		/* before its maker's setsid */
	bool reaped;			/* a helper that is gone */
	bool dead;			/* a zombie that has died */
	bool stops_at_once;		/* a SIGSTOP was pending */
	struct rebuild_thread *threads; /* [0] is the leader */
	size_t n_threads;
	MmEntry *mm; /* NULL for zombies and helpers, as the next three */
	FsEntry *fs;
	SnapTaskEntry *extra;
	struct object pages;
	bool has_pages;
	struct rebuild_vma *vmas; /* one for each of `mm` */
	uint32_t files_id, fs_id;
};

/* One shared anonymous region. */
struct rebuild_shmem {
	uint64_t shmid;
	uint64_t bytes;
	bool listed; /* the images tell its size */
	int fd;	     /* at a high number, inherited by every task */
};

/* Who snap is, and so what every task is at first. */
struct rebuild_rights {
	uint64_t held, bounding; /* capabilities: effective, and the bounding set */
	uint32_t securebits;
	uid_t uid[3]; /* real, effective, saved */
	gid_t gid[3];
	gid_t *groups;
	size_t n_groups;
};

struct restore_options;
struct key_source;
struct rebuild_cgroup;
struct fill;

struct rebuild {
	struct store *store;
	struct store_view *view;
	struct generation gen;
	bool foreground;
	const struct key_source *keys;
	const struct progress *progress; /* what every step tells and asks: stop_begin() */
	const struct progress *callers;	 /* inside stop.c, as the next two */
	struct progress asking;
	bool told_it_goes_on;
	pid_t living;		     /* root of the tree to be ended first, 0: none */
	uint64_t living_start;	     /* its start time, as in struct proc_stat */
	bool living_ended;	     /* there is no way back to it any more */
	struct rebuild_task **tasks; /* parents before children; helpers behind all others */
	size_t n_tasks;
	struct rebuild_task *root;
	struct rebuild_shmem *shmems;
	size_t n_shmems;
	SeccompEntry *seccomp; /* NULL: no task has a filter */
	CgroupEntry *cgroups;  /* how control groups were set up; NULL: the tasks were in none */
	struct rebuild_cgroup *lost_cgroups; /* to be made again */
	size_t n_lost_cgroups;
	char **made_cgroups; /* folders made so far */
	size_t n_made_cgroups;
	bool holds_ending; /* as long as they would stay behind */
	struct rebuild_rights rights;
	struct fds_restore *fds;
	struct files_restore *files;
	struct back *back;	    /* files to be put back; NULL: none */
	struct fds_task *fds_tasks; /* of tasks with an address space */
	size_t n_fds_tasks;
	/* A mapping at the same address here and in every task, outside of every task's layout: one
	 * page of code, then shared memory for the arguments of remote calls. */
	uint8_t *scratch;
	uint8_t *data;
	size_t data_bytes;
	uint64_t pages_written, bytes_written;
};

/* ---- plan.c ---- */

/* Reads every image of the generation; what makes no sense is R_DAMAGED and reported. */
int plan_read(struct rebuild *r);
/* One more task, for session.c; NULL when out of memory (reported). */
struct rebuild_task *plan_add_helper(struct rebuild *r, pid_t pid);
void plan_free(struct rebuild *r);

/* ---- session.c ---- */

/* Decides sessions and groups, adds helpers for dead leaders.  R_UNSUPPORTED if a tree cannot be
 * made this way (named). */
int session_plan(struct rebuild *r);
struct rebuild_task *task_find(struct rebuild *r, pid_t pid);

/* ---- check.c ---- */

/* Everything that can be checked before anything is made, without looking at pids. */
int check_environment(struct rebuild *r);

/* ---- rights.c ---- */

/* Has snap the capabilities without which these tasks cannot be made, or not as they were?  R_OK;
 * R_UNSUPPORTED, reported with the capability that is missing; R_FAILED. */
int rights_check(struct rebuild *r);
/* Has a new task the user and groups of this one already? */
bool rights_same_ids(const struct rebuild_thread *th, const CredsEntry *c);

/* ---- living.c ---- */

/* Looks for the living target that is to be ended: who has the root's pid, if start time and boot
 * prove that it is a target of the lineage; it is then in `living`, which is left at 0 if nobody
 * has that pid.  R_OK; R_BUSY (somebody else has it); other errors, all reported. */
int living_prove(struct rebuild *r, const struct restore_options *opts);
/* Ends it, if it still is who has that pid, and waits until its pids are free.  R_OK; R_BUSY;
 * R_UNSUPPORTED (files it wrote to meanwhile); R_FAILED. */
int living_replace(struct rebuild *r);

/* ---- pids.c ---- */

/* Nobody may have a pid or tid that is needed but the living target's tree; what has ended is
 * waited for.  R_OK; R_BUSY, reported; R_FAILED, reported or because the restore is to stop. */
int pids_check(struct rebuild *r);
/* The part of it that is about processes of other trees in a group or session of such a number, as
 * far as /proc shows them.  The same results. */
int pids_check_groups(struct rebuild *r);
/* Waits until nobody has such a pid or tid.  R_OK; R_BUSY, reported. */
int pids_wait(const struct rebuild *r);
/*
 * The kernel did not give number `tid` to a new task (EEXIST).  True, after a pause, if it is worth
 * another try: nobody that runs has it.  The kernel takes a number back only after its last task is
 * gone from sight, and what it keeps of that task in /proc is forgotten first (release_task() of
 * kernel/exit.c), which takes milliseconds where somebody has looked at much of it.  `*tries`
 * counts from 0.
 */
bool pid_lingers(struct rebuild *r, pid_t tid, int *tries);
/* After the last try: R_BUSY, reported with what uses it, or R_FAILED if the restore is to stop. */
int pid_busy(struct rebuild *r, pid_t tid);

/* ---- remote.c ---- */

/* A system call of `th`; `*ret` is the kernel's answer.  R_OK, or R_FAILED (reported). */
int remote_try(struct rebuild_thread *th, int64_t *ret, long nr, uint64_t a0, uint64_t a1,
	       uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
/* One that has to succeed: an error of it is reported with the name `what` and is R_FAILED. */
int remote_must(struct rebuild_thread *th, const char *what, long nr, uint64_t a0, uint64_t a1,
		uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
/* Address of the argument memory, for a remote call; bytes from `r->data` on. */
static inline uint64_t remote_address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* ---- xstate.c ---- */

/* The extended registers: of snap's image, or else of CRIU's.  R_OK, R_DAMAGED, R_UNSUPPORTED,
 * R_FAILED, all reported. */
int xstate_make(struct rebuild_thread *th);

/* ---- spawn.c ---- */

/* Maps the scratch area at an address free in every layout and here. */
int scratch_map(struct rebuild *r);
void scratch_unmap(struct rebuild *r);
/* Makes the root (child of init unless foreground), then every other task. */
int spawn_tree(struct rebuild *r);
/* A remote clone3; the child comes traced and stopped.  `tid` is the number it gets. */
int spawn_clone(struct rebuild_thread *maker, uint64_t flags, int exit_signal,
		struct rebuild_thread *child);
/* Kills and reaps whatever of the tree exists. */
void spawn_abandon(struct rebuild *r);

/* ---- stop.c ---- */

/* From here on r->progress says when the work is to stop, of which `progress` (may be NULL) knows:
 * never once the old target has been ended. */
void stop_begin(struct rebuild *r, const struct progress *progress);
/* Remote calls from this site, and of tasks that get it from there, are waited for no longer when
 * the work is to stop, or is interrupted and stuck. */
void stop_site(struct rebuild *r, struct inject_site *site);
/* Is it to stop?  Then what was begun is undone, and the result is R_FAILED, not reported. */
bool stop_asked(struct rebuild *r);
/* Waits for the end of `t` as its tracer, handing it every signal it stops at, unless the end has
 * been reported already.  Its parent is told and has the zombie from then on.  R_OK, R_FAILED
 * (reported, or to stop, or stuck after an interruption). */
int stop_wait_end(struct rebuild_task *t, int *status);
/* Waits, whatever signals come, until nothing is left of a killed thread that is ours, a while at
 * most: false. */
bool stop_reap(pid_t tid);

/* ---- group.c, zombie.c ---- */

int group_join_all(struct rebuild *r);
int helpers_leave(struct rebuild *r);
int zombies_die(struct rebuild *r);

/* ---- memory ---- */

int shmem_make(struct rebuild *r);
void shmem_close(struct rebuild *r);
/* The descriptor of a region, -1 if unknown. */
int shmem_fd(const struct rebuild *r, uint64_t shmid);
/* Where the kernel's own pages lie in a layout; false if nowhere. */
bool layout_has_vdso(const MmEntry *mm, uint64_t *start, uint64_t *end);
int layout_map(struct rebuild_task *t);
/* The same for range `i` alone. */
int layout_map_range(struct rebuild_task *t, size_t i);
/* Last protections and advice, when contents are in place. */
int layout_seal(struct rebuild_task *t);
/* The contents of all ranges that are not filled yet. */
int fill_task(struct rebuild_task *t);
/* Contents that are gathered first: of whole ranges, of single pages.  NULL: reported. */
struct fill *fill_begin(struct rebuild_task *t);
int fill_range(struct fill *fill, const VmaEntry *vma);
int fill_page(struct fill *fill, uint64_t index, page_no number);
/* Writes what has been gathered if `rc` is R_OK, which is the result otherwise; frees `fill`. */
int fill_end(struct fill *fill, int rc);

/* How many of a range's pages are the same in `t` and in the range `had` of `source`, which `t` is
 * born with, and how many others either of them has.  `had` may end before or behind `vma`. */
struct compare_counts {
	uint64_t equal, other;
};
int compare_count(struct rebuild_task *t, const VmaEntry *vma, struct rebuild_task *source,
		  const VmaEntry *had, struct compare_counts *counts);
/* A range of `t` holds what `source` holds in `had`, and nothing behind its end: gathers what
 * differs, and drops what `t` has not. */
int compare_change(struct fill *fill, struct rebuild_task *t, const VmaEntry *vma,
		   struct rebuild_task *source, const VmaEntry *had);
/* Decides which ranges tasks inherit of those that make them. */
int inherit_plan(struct rebuild *r);
/* For a task just made: puts what it was born with right, and what its children will inherit into
 * place. */
int inherit_prepare(struct rebuild_task *t);
int mmprops_set(struct rebuild_task *t);

/* ---- state ---- */

int threads_make(struct rebuild_task *t);
/* Registrations with the kernel: robust list, rseq, clear-tid, alternate stack. */
int thread_register(struct rebuild_thread *th);
/* Looks for the control groups of all threads; plans those that are gone.  R_UNSUPPORTED (named) if
 * one is neither there nor can be made. */
int cgroup_check(struct rebuild *r);
/* Makes those planned, and holds off the ending of this process until cgroup_end().  R_OK or
 * R_FAILED (reported); then cgroup_end() removes them. */
int cgroup_make(struct rebuild *r);
/* Lets go of what was planned and made; with `undo`, removes what was made.  Does not return if
 * this process was asked to end meanwhile. */
void cgroup_end(struct rebuild *r, bool undo);
/* Joins the groups of one thread (the unified one with the first of its task): before memory is
 * charged to the wrong one. */
int cgroup_join(struct rebuild_thread *th);
/* Root, working directory, umask: while the prepared descriptors are there. */
int props_folders(struct rebuild_task *t);
/* What the root, and all that come of it, would have of us and not of the images. */
int props_shed(struct rebuild_thread *root);
int props_set(struct rebuild_task *t);
int props_thread(struct rebuild_thread *th);
int creds_set(struct rebuild_thread *th);
/* User and groups alone, which is what is told of the dead. */
int creds_of_zombie(struct rebuild_thread *th);
/* Parent-death signal and dumpable flag, which a change of identity clears. */
int creds_late(struct rebuild_thread *th);
int seccomp_set(struct rebuild_thread *th);
/* The bounding set as one bit for each capability. */
uint64_t creds_bounding(const CredsEntry *c);
int signals_actions(struct rebuild_task *t);
/* Throws away what arrived while the tree was made, queues what was pending. */
int signals_pending(struct rebuild_task *t);
int timers_make(struct rebuild_task *t);
/* Arms those that have overrun such that they tell so again; between the emptying of the signal
 * queues and the queueing of what was pending. */
int timers_count(struct rebuild_task *t);
int timers_arm(struct rebuild_task *t);

/* ---- launch.c ---- */

/* Registers into place, scratch away; every thread is left at a stop. */
int launch_prepare(struct rebuild *r);
/* Lets all run at once.  Nothing can fail any more but a task's death. */
int launch_all(struct rebuild *r);

#endif
