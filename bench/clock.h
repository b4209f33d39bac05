/* Clocks in seconds, for the programs of bench/. */
#ifndef SNAP_BENCH_CLOCK_H
#define SNAP_BENCH_CLOCK_H

#include <time.h>

static inline double clock_s(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double now(void)
{
	return clock_s(CLOCK_MONOTONIC);
}

#endif
