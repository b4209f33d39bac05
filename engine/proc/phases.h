/*
 * Where the time of a freeze goes: a clock that runs for one phase at a time, from the first stop
 * to the last release.  One take at a time in a process, on one of its threads.
 */
#ifndef SNAP_ENGINE_PROC_PHASES_H
#define SNAP_ENGINE_PROC_PHASES_H

#include <stdint.h>

enum phase {
	PHASE_NONE,	/* nothing stands still */
	PHASE_STOP,	/* threads are stopped and looked at, the tree is searched for more */
	PHASE_FILES,	/* open files, working directories, programs */
	PHASE_RANGES,	/* the ranges of address spaces and what they show */
	PHASE_SCAN,	/* their pages: which there are, which were written */
	PHASE_PROC,	/* all else that is read from outside */
	PHASE_SITE,	/* code and room for remote calls */
	PHASE_CALLS,	/* remote calls */
	PHASE_TRACKING, /* pages are protected anew */
	PHASE_CLONE,
	PHASE_MEMORY, /* contents of memory are copied */
	PHASE_IMAGES,
	PHASE_RELEASE,
	PHASE_COUNT
};

struct phase_times {
	uint64_t ns[PHASE_COUNT]; /* that of PHASE_NONE stays 0 */
};

/* From now on the clock runs for `phase`.  Returns the one it ran for, to be gone back to. */
enum phase phase_enter(enum phase phase);

/* The times so far; all begin at 0 again. */
void phase_collect(struct phase_times *times);

/* One word. */
const char *phase_name(enum phase phase);

#endif
