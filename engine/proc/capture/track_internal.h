/* What the parts of tracking have in common. */
#ifndef SNAP_ENGINE_PROC_CAPTURE_TRACK_INTERNAL_H
#define SNAP_ENGINE_PROC_CAPTURE_TRACK_INTERNAL_H

#include "engine/proc/capture/track.h"
#include "engine/proc/capture/track_record.h"

/* One address space. */
struct tracked {
	pid_t pid;
	uint64_t start;
	int uffd;
	bool gone;	       /* it is of an address space the task no longer has */
	struct survey written; /* see track_protect_ahead() */
};

struct track {
	char path[TRACK_PATH_BYTES];
	struct track_record record; /* as claimed, later as put */
	bool claimed;		    /* there is a keeper */
	bool proven;		    /* the record names the newest generation */
	bool changed;		    /* the keeper does not hold what is in `tasks` */
	bool committed;
	bool soft_dirty; /* in place of userfaultfds */
	char reason[160];
	uint64_t least_bytes; /* that a task is tracked for */
	bool too_small;	      /* some have less */
	struct tracked tasks[TRACK_TASKS_MAX];
	size_t n;
};

/* The tracked address space of a process; NULL if there is none, or another process has the number
 * by now.  `track` may be NULL. */
struct tracked *track_find(struct track *track, pid_t pid);

/* Opens a new userfaultfd for asynchronous write protection.  R_OK, or R_FAILED: TRACK_NO_ASYNC. */
int track_open_api(int uffd);
#define TRACK_NO_ASYNC "the kernel cannot (UFFD_FEATURE_WP_ASYNC, Linux 6.7)"

/* Registers a range for write protection.  R_OK, or R_FAILED with errno set: EBUSY if another
 * userfaultfd watches it, ESRCH if the address space is no more. */
int track_enroll(int uffd, const struct vma *vma);

#endif
