/*
 * Holding a thread by ptrace and making it do system calls.
 *
 * Everything done to a living target can end at any instant by the death of this process.  So a
 * remote call is entered through a `syscall; ret` of the target's own code, with a signal frame on
 * its stack that leads back to the original state: a thread whose tracer dies finishes the call,
 * returns through rt_sigreturn and runs on (docs/architecture.md, "Inside a target").
 * All calls on one tracee come from the thread of snap that seized it.
 */
#ifndef SNAP_ENGINE_PROC_TRACE_H
#define SNAP_ENGINE_PROC_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "engine/arch/arch.h"

struct maps;

/* One seized thread. */
struct tracee {
	pid_t pid; /* thread group */
	pid_t tid;
	struct arch_regs regs; /* as found at the stop; what release puts back */
	uint64_t sigmask;
	bool group_stopped; /* was stopped by job control; its stop signal in stop_signal */
	int stop_signal;
	bool seccomp_live; /* its seccomp filter would judge remote calls: none are made */
	/* Restartable sequences: where the thread registered its area, 0 if it did not. */
	uint64_t rseq_address;
	uint32_t rseq_bytes;
	uint32_t rseq_signature;
	/* inside trace*.c, inject*.c and freeze*.c: */
	struct tracee *before; /* seized before it in the same process, or NULL */
	uint64_t give_up_ns;   /* as in struct trace_company */
	bool lost;	       /* no longer held: dead, or its number is another thread's */
	bool reaped;	       /* and nothing is left of it */
	int hindrance;	       /* enum trace_hindrance, after R_BUSY */
	pid_t vfork_child;     /* whom it waits for: 0 if not known */
	bool holds_ending;     /* our own end waits until it is home */
	bool injected;	       /* registers currently are not the original ones */
	bool ordered;	       /* on its way to a stop, see trace_order() */
	bool in_signal;	       /* stands where the kernel looks for signals, not at a call */
	/* The whole of NT_X86_XSTATE.  Last: most of its room is never touched, which saves a page
	 * fault for each page of it. */
	struct arch_xstate xstate;
};

/* Where remote calls are made from, one for each address space.  One thread at a time. */
struct inject_site {
	pid_t pid;
	uint64_t syscall_ret;		     /* address of `syscall; ret` */
	uint64_t sigreturn;		     /* address of code that does rt_sigreturn */
	uint64_t gadgets[ARCH_GADGET_COUNT]; /* those two, and what else a chain needs or 0 */
	uint64_t area; /* frames and small buffers; its pages were untouched or unused stack */
	size_t area_bytes;
	uint64_t data;	   /* part of the area free for arguments of remote calls */
	size_t data_bytes; /* at least 4096 */
	bool disposable;   /* a tree under construction: killed with us, no frames needed */
	/* Asked each time a signal to us interrupts the wait for a call, with how long it has gone
	 * on since the first of them.  True: it is waited for no longer; R_FAILED, not reported.
	 * NULL: it always is. */
	bool (*give_up)(void *arg, uint64_t waited_ns);
	void *give_up_arg;
	/* inside inject*.c: */
	uint64_t frame;
	pid_t user;	/* the thread between inject_begin and inject_end */
	uint8_t *saved; /* what the area held, if it was not zero */
};

/* What trace_seize needs to know if more than one thread is to be held. */
struct trace_company {
	/* The thread of the same process seized last, NULL for the first; stays where it is.  An
	 * execve waits until all other threads of its process are dead and reaped, and seizing and
	 * stopping wait for the execve. */
	struct tracee *before;
	/* CLOCK_MONOTONIC from which on a thread that sleeps uninterruptibly is not waited for. */
	uint64_t give_up_ns;
};

/* Seizes and stops one thread (PTRACE_SEIZE, PTRACE_INTERRUPT, waits for the stop, reads registers,
 * xstate and mask, repairs a call that the stop itself interrupted with EINTR and a restartable
 * sequence it fell into).  Signals on their way are delivered first, as they would have been.
 * R_OK, R_NOT_FOUND if it is gone or a zombie, R_UNSUPPORTED (already traced, 32-bit, ...; named),
 * R_FAILED, among others if it does not stop in time (uninterruptible).
 * With `company` R_BUSY, not reported, if it sleeps uninterruptibly at the time given there: it is
 * still traced and will stop (trace_await). */
int trace_seize(pid_t pid, pid_t tid, const struct trace_company *company, struct tracee *t);

/* Waits until `patience_ns` from now for a thread that trace_seize was R_BUSY for.  As trace_seize;
 * R_BUSY is reported.  A thread that never stops can only be let go by the end of the thread of
 * snap that seized it. */
int trace_await(struct tracee *t, uint64_t patience_ns);

/* True if `t` stands where trace_seize left it.  Not so if it was killed, or if it is the leader
 * and another thread took its number over by an execve. */
bool trace_is_held(const struct tracee *t);

/* Takes over a thread that is traced by us already and stops by itself, as one that
 * PTRACE_O_TRACECLONE or PTRACE_O_TRACEFORK attached: waits for its first stop and fills `t`.  As
 * trace_seize. */
int trace_adopt(pid_t pid, pid_t tid, struct tracee *t);

/* The same for a task that will never run by itself: no more than its general registers are read,
 * and nothing in it is repaired. */
int trace_adopt_bare(pid_t pid, pid_t tid, struct tracee *t);

/* Sets ptrace options beside those that remote calls need (PTRACE_O_EXITKILL, PTRACE_O_TRACEFORK,
 * ...).  R_OK, R_NOT_FOUND, R_FAILED. */
int trace_set_options(const struct tracee *t, int options);

/* Puts everything back and lets the thread run on (or stay stopped by job control).  Also ends an
 * injection that inject_end was not called for.  R_OK; R_NOT_FOUND if it died; R_FAILED. */
int trace_release(struct tracee *t);

/* Finds gadgets and a safe area in a living target, all threads of which are held.  Nothing is
 * written.  R_UNSUPPORTED names what is missing; R_FAILED. */
int inject_site_find(const struct tracee *leader, struct inject_site *site);
/* The same with its ranges as they have been read since it stands still.  If its stack has to
 * grow for this, its range in `read` grows too. */
int inject_site_find_in(const struct tracee *leader, struct maps *read, struct inject_site *site);
/* Looks in a process that runs for code that inject_site_find will need in it and its like, so that
 * this is not searched for while they stand still.  Nothing is promised and nothing reported. */
void inject_site_seek(pid_t pid);
/* Puts the area's contents back.  R_OK, R_NOT_FOUND if the target died, R_FAILED. */
int inject_site_close(struct inject_site *site);

/* Prepares `t` for remote calls (writes the frame) and puts its registers back.  Pairs.  Between
 * them all of the thread's signals are blocked; those that arrive wait in its queues.
 * With a disposable site inject_end leaves registers and mask alone: the caller sets them.
 * R_OK, R_NOT_FOUND if the thread died, R_FAILED. */
int inject_begin(struct tracee *t, struct inject_site *site);
int inject_end(struct tracee *t, struct inject_site *site);
/* After the last call, sends `t` on its way to where inject_end() puts its registers back, which
 * then need not wait for that.  R_OK, R_NOT_FOUND, R_FAILED; inject_end() follows in any case. */
int inject_leave(struct tracee *t, const struct inject_site *site);

/*
 * Runs one system call in `t`.  `*ret` is what the kernel returned, -errno on failure (not
 * reported: the caller knows what it means).  A call broken off by our own doing is done over.
 * Waits for the call, however long it takes, unless site->give_up says no.  R_OK, R_NOT_FOUND if
 * the thread died, R_FAILED.
 */
int inject_syscall(struct tracee *t, struct inject_site *site, int64_t *ret, long nr, uint64_t a0,
		   uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);

/* One of many calls to be made in a row. */
struct inject_question {
	long nr;
	uint64_t args[6];
	/* What the call writes, if it does: a pointer to room for it becomes argument `out_arg`,
	 * and what is there afterwards is copied to `out`. */
	void *out;
	uint32_t out_bytes; /* at most INJECT_OUT_MAX_BYTES */
	int out_arg;
	/* A further pointer into that room; NO_ARG: none. */
	int more_arg;
	uint32_t more_offset;
	int64_t ret; /* as of inject_syscall */
};
#define INJECT_NO_ARG (-1)
#define INJECT_OUT_MAX_BYTES 1024

/* A signal that is nothing to a thread with this status and these signals blocked: it is ignored,
 * not blocked, and none is pending; or 0.  Also 0 for one with a seccomp filter, which must never
 * be left alone in a chain. */
struct proc_status;
int inject_idle_signal(const struct proc_status *status, uint64_t sigmask);

/*
 * Makes calls that change nothing, one after the other; the first part does what inject_begin()
 * does, too, and inject_end() follows.  The thread makes them in one go where it can
 * (docs/architecture.md, "A chain of calls"), which takes an idle signal and suitable code;
 * otherwise each by itself.  In two parts, so that other threads can be asked meanwhile: once the
 * first gave R_OK nothing else is done to the thread before the second, which has the answers.
 * R_OK, R_NOT_FOUND, R_FAILED; of the first also R_UNSUPPORTED, and unless R_OK nothing is begun.
 */
int inject_ask_begin(struct tracee *t, struct inject_site *site, int idle_signal,
		     struct inject_question *questions, size_t n);
int inject_ask_finish(struct tracee *t, struct inject_site *site, int idle_signal,
		      struct inject_question *questions, size_t n);

/* Copies between this process and the target's memory.  R_OK or R_FAILED with errno set. */
int trace_read(pid_t pid, uint64_t address, void *buf, size_t len);
int trace_write(pid_t pid, uint64_t address, const void *buf, size_t len);

#endif
