/*
 * Holding a whole process tree still.
 */
#ifndef SNAP_ENGINE_PROC_FREEZE_H
#define SNAP_ENGINE_PROC_FREEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/proc/stat.h"

struct tracee;

struct tree_task {
	pid_t pid, ppid, pgid, sid;
	char comm[PROC_COMM_BYTES];
	uint64_t start_time; /* as in struct proc_stat */
	char state;   /* R S D T Z as found before the freeze; Z: nothing below but exit_code */
	bool stopped; /* by job control */
	bool zombie;
	bool listed;		 /* its threads are those held, unless their number differs */
	int exit_code;		 /* of a zombie, as wait gives it */
	struct proc_stat stat;	 /* as read when every thread stood still already */
	struct tracee **threads; /* the thread group's leader first, then by number */
	size_t thread_count;
};

struct tree {
	struct tree_task *tasks; /* the root first, parents before children */
	size_t task_count;
	uint64_t first_stop_ns; /* CLOCK_MONOTONIC as the first thread was told to stop */
	uint64_t in_vain_ns;	/* frozen before that, in attempts that were given up */
	/* In vain, and from the first stop to the last release; set by tree_release, tree_kill and
	 * a tree_freeze that failed. */
	uint64_t frozen_ns;
};

/*
 * Seizes every thread of `root` and of all its descendants until there is nothing that could make
 * new ones.  Processes may come and go and execute other programs meanwhile.  A thread that sleeps
 * uninterruptibly, as in vfork, is waited for 150 ms; then everything runs on until it is through,
 * which it must be in 1 s (vfork) or 3 s, and there are up to 5 attempts.
 * R_OK; R_NOT_FOUND without such a process; R_UNSUPPORTED (named; a long vfork among others);
 * R_FAILED.  Unless R_OK everything runs on as it was and `tree` is empty.
 */
int tree_freeze(pid_t root, struct tree *tree);

/* Lets everything run on and frees the tree.  Threads that died meanwhile are no failure.
 * frozen_ns stays readable.  R_OK or R_FAILED. */
int tree_release(struct tree *tree);

/* Ends every task of the tree by SIGKILL, waits until all are dead, and frees it.  Those that are
 * children of this process are left for it to wait for. */
int tree_kill(struct tree *tree);

/* Sends SIGSTOP to every task that is not stopped, so that after tree_release they are. */
int tree_stop(struct tree *tree);

/* Number of threads held. */
size_t tree_threads(const struct tree *tree);

#endif
