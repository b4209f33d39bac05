/* Starts and judges the program held.c for tests. */
#ifndef SNAP_TESTS_HOLDER_H
#define SNAP_TESTS_HOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "held.h"

struct held_program {
	pid_t pid;
	struct held *held;
	char *maps; /* its memory map once it was ready */
	char *fds;  /* and its descriptors */
};

/* Starts it and waits until it is ready. */
void held_start(struct held_program *p, bool exact);

/* Fails unless it is undisturbed so far. */
void held_check(const struct held_program *p);

/* Lets it do some rounds of everything, ends it, and fails unless it, its memory map and its
 * descriptors are well. */
void held_finish(struct held_program *p);

/* Sleeps `us` microseconds. */
void pause_us(unsigned us);

/* A reproducible sequence. */
uint64_t prng(uint64_t *state);

#endif
