/* Shared by trace*.c and inject*.c. */
#ifndef SNAP_ENGINE_PROC_TRACE_INTERNAL_H
#define SNAP_ENGINE_PROC_TRACE_INTERNAL_H

#include "engine/proc/trace.h"

enum trace_stop {
	STOP_EVENT,   /* PTRACE_EVENT_STOP: of our interrupt, of a group stop, of a new thread */
	STOP_SYSCALL, /* entry or exit of a system call */
	STOP_SIGNAL,  /* a signal is about to be delivered */
	STOP_OTHER,   /* another PTRACE_EVENT_* */
};

/* Waits until `t` stops, at most `patience_ns`.  *signal is the signal of a
 * STOP_SIGNAL, or the stop signal of a group stop (0 for any other STOP_EVENT).  Keeps
 * group_stopped and in_signal.  R_OK; R_NOT_FOUND if the thread ended; R_BUSY if it did not stop in
 * time; R_FAILED (reported). */
int trace_wait(struct tracee *t, uint64_t patience_ns, enum trace_stop *stop, int *signal);

/* The same without a bound but what site->give_up sets. */
int trace_wait_asking(struct tracee *t, const struct inject_site *site, enum trace_stop *stop,
		      int *signal);

/* Lets `t` go with `request` (PTRACE_CONT, PTRACE_SYSCALL), delivering `signal`.  R_OK,
 * R_NOT_FOUND, R_FAILED. */
int trace_resume(struct tracee *t, int request, int signal);

/* Brings a running or stopped `t` into PTRACE_EVENT_STOP.  A stopped one does nothing in between,
 * except to take signals it does not block.  Results as trace_wait, R_BUSY reported and turned into
 * R_FAILED. */
int trace_park(struct tracee *t, bool running);

/* The same, but R_BUSY is returned, with nothing reported: the order to stop stands. */
int trace_park_patiently(struct tracee *t, bool running);

/* Begins to bring a stopped `t` there; trace_park() then only waits.  R_OK, R_NOT_FOUND, R_FAILED.
 */
int trace_order(struct tracee *t);

/* Why a thread that was told to stop does not. */
enum trace_hindrance {
	HINDRANCE_NONE,	 /* it has not got a processor yet */
	HINDRANCE_VFORK, /* waits for a child that uses its memory */
	HINDRANCE_SLEEP, /* waits uninterruptibly for something else */
};
/* Finds out and keeps it in `t`. */
enum trace_hindrance trace_hindrance(struct tracee *t);
/* Reports what was found last. */
void trace_warn_late(const struct tracee *t);

/* Reaps `t` if it is dead, unless it is its process's leader.  True if nothing of it is left for us
 * to wait for.  trace_reap_before() does so for the threads seized before `t` in its process; it
 * may be called in a signal handler. */
bool trace_reap(struct tracee *t);
void trace_reap_before(struct tracee *t);
/* The same for a thread that could not be let go of, since it is on its way to its end: waits for
 * that, at most 0.1 s.  Left to nobody, it would hold up an execve of its process for as long as we
 * live. */
void trace_reap_dying(struct tracee *t);

/*
 * Between these a signal interrupts the calls of this thread every 2 ms (TICK_NS), so that no wait
 * for a tracee is without bound.  SIGCHLD is left to the program around.  May be nested; one thread
 * of this process at a time.  trace_ticks_begin: R_OK or R_FAILED (reported).
 */
int trace_ticks_begin(void);
void trace_ticks_end(void);
/* From here on each tick reaps what died of the threads before `last`; NULL: no longer. */
void trace_ticks_reap(struct tracee *last);

/* Translates the failure of a ptrace request that was to `what` the thread: R_NOT_FOUND if it is
 * gone, else reports and R_FAILED. */
int trace_failed(const struct tracee *t, const char *what);

/* Reads registers, mask and xstate of a parked thread; repairs what the stop broke; lets a thread
 * that a killed snap left on its way home get there first.  Results as trace_seize. */
int trace_look(struct tracee *t);

/* Ends an injection, if there is one: parks `t` and puts its mask and registers back. */
int trace_settle(struct tracee *t);

/* Bytes below a frame that a chain of remote calls may take. */
#define TRACE_CHAIN_MAX_BYTES 8192

/* The first part of inject_begin(): checks that calls can be made, writes the frame, and right
 * below it what is given, and from then on inject_end() is due.  The thread's registers and mask
 * are as they were: let go, it runs on. */
int inject_prepare(struct tracee *t, struct inject_site *site, const void *below,
		   size_t below_bytes);

/* Every signal; the kernel leaves out the two that cannot be blocked. */
#define TRACE_ALL_SIGNALS (~(uint64_t)0)

int trace_mask_get(const struct tracee *t, uint64_t *mask);
int trace_mask_set(const struct tracee *t, uint64_t mask);

/* PTRACE_O_TRACESYSGOOD is not a convenience: without it a tracee at a system call stop whose
 * tracer dies gets a real SIGTRAP.  With it the number is no signal and the kernel drops it. */
#define TRACE_OPTIONS PTRACE_O_TRACESYSGOOD
/* For a thread of a living target: that it executed another program must not go unnoticed. */
#define SEIZE_OPTIONS (TRACE_OPTIONS | PTRACE_O_TRACEEXEC)
#define SEIZE_OPTIONS_WISHED ((long)SEIZE_OPTIONS | PTRACE_O_SUSPEND_SECCOMP)

#endif
