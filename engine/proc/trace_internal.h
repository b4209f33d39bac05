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

/* Waits until `t` stops; `patience_ns` bounds the wait, 0 does not.  *signal is the signal of a
 * STOP_SIGNAL, or the stop signal of a group stop (0 for any other STOP_EVENT).  Keeps
 * group_stopped and in_signal.  R_OK; R_NOT_FOUND if the thread ended; R_BUSY if it did not stop in
 * time; R_FAILED (reported). */
int trace_wait(struct tracee *t, uint64_t patience_ns, enum trace_stop *stop, int *signal);

/* Lets `t` go with `request` (PTRACE_CONT, PTRACE_SYSCALL), delivering `signal`.  R_OK,
 * R_NOT_FOUND, R_FAILED. */
int trace_resume(struct tracee *t, int request, int signal);

/* Brings a running or stopped `t` into PTRACE_EVENT_STOP.  A stopped one does nothing in between,
 * except to take signals it does not block.  Results as trace_wait, R_BUSY reported and turned into
 * R_FAILED. */
int trace_park(struct tracee *t, bool running);

/* Translates the failure of a ptrace request that was to `what` the thread: R_NOT_FOUND if it is
 * gone, else reports and R_FAILED. */
int trace_failed(const struct tracee *t, const char *what);

/* Reads registers, mask and xstate of a parked thread; repairs what the stop broke; lets a thread
 * that a killed snap left on its way home get there first.  Results as trace_seize. */
int trace_look(struct tracee *t);

/* Ends an injection, if there is one: parks `t` and puts its mask and registers back. */
int trace_settle(struct tracee *t);

/* Every signal; the kernel leaves out the two that cannot be blocked. */
#define TRACE_ALL_SIGNALS (~(uint64_t)0)

int trace_mask_get(const struct tracee *t, uint64_t *mask);
int trace_mask_set(const struct tracee *t, uint64_t mask);

/* PTRACE_O_TRACESYSGOOD is not a convenience: without it a tracee at a system call stop whose
 * tracer dies gets a real SIGTRAP.  With it the number is no signal and the kernel drops it. */
#define TRACE_OPTIONS PTRACE_O_TRACESYSGOOD

#endif
