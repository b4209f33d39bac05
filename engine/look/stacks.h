/* Where the threads of a generation were: their stacks, unwound and with names. */
#ifndef SNAP_ENGINE_LOOK_STACKS_H
#define SNAP_ENGINE_LOOK_STACKS_H

#include "engine/look/look.h"

/* Frames told of one thread at most. */
#define LOOK_FRAMES_MAX 256

struct look_frame {
	uint32_t tid;
	unsigned int number; /* 0: where the thread was */
	uint64_t address;
	const char *function; /* NULL: not known */
	uint64_t offset;      /* of the address from the beginning of the function */
	const char *module;   /* path of the file that is mapped there; NULL: none */
	uint64_t bias;	      /* address minus that in the file's own counting */
	const char *source;   /* NULL: no debug information */
	int line;
};

/* How the stack of a thread ended. */
struct look_stack_end {
	uint32_t tid;
	const char *why; /* NULL: at its bottom; otherwise what was in the way */
};

struct look_stack_calls {
	int (*frame)(const struct look_frame *frame, void *arg); /* other than 0 stops */
	void (*end)(const struct look_stack_end *end, void *arg);
	void *arg;
};

/*
 * Tells of each frame of each thread, from the innermost on, thread by thread.  Code and symbols
 * are read from what the generation stored of the mapped files; without that, from the file of that
 * path if its build-id is the one that was noted.  R_OK, R_UNSUPPORTED (another processor),
 * R_DAMAGED, R_FAILED; all reported.
 */
int look_stacks(const struct look *look, const struct look_task *task,
		const struct look_stack_calls *calls);

/* True if stacks of the task can be told: it has memory and registers. */
bool look_has_stacks(const struct look_task *task);

#endif
