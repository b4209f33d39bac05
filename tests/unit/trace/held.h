/* What the program that is held (held.c) and the test that holds it share: one mapped page. */
#ifndef SNAP_TESTS_HELD_H
#define SNAP_TESTS_HELD_H

#include <stdatomic.h>
#include <stdint.h>

enum held_work {
	HELD_REGISTERS, /* general registers, red zone, vector registers, in a tight loop */
	HELD_NANOSLEEP,
	HELD_POLL,
	HELD_EPOLL,
	HELD_FUTEX,
	HELD_PIPE,
	HELD_SIGWAIT,
	HELD_RECV_TIMEOUT,
	HELD_RSEQ,
	HELD_SUSPEND, /* sigsuspend and a handler on an alternate stack */
	HELD_WORKS,
};

struct held {
	_Atomic uint32_t ready;
	_Atomic uint32_t end;	 /* asks the program to end, with 0 if nothing failed */
	_Atomic uint32_t failed; /* message is filled */
	char message[128];
	_Atomic uint64_t rounds[HELD_WORKS];
	_Atomic uint64_t interrupted;		   /* calls that came back with EINTR */
	_Atomic uint32_t exact;			   /* sleeps must take their time and no longer */
	_Atomic uint64_t queued_count, queued_sum; /* SIGUSR1 received by sigqueue */
	uint64_t rseq_start, rseq_bytes;
};

#define HELD_FD 3

#endif
