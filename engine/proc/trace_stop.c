#include "engine/proc/trace_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"

/* A running thread stops within microseconds, or as soon as it gets a processor. */
#define PARK_PATIENCE_NS 3000000000ULL
/* One that was killed ends as soon as it gets a processor. */
#define DYING_PAUSE_NS 500000L
#define DYING_ROUNDS 200

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

int trace_failed(const struct tracee *t, const char *what)
{
	if (errno == ESRCH)
		return R_NOT_FOUND;
	warn_errno("cannot %s thread %d of process %d", what, t->tid, t->pid);
	return R_FAILED;
}

/* An execve in another thread may have taken the thread's number over, and the new owner is not
 * traced; but it may be our child, so that waitid() would not tell.  (One order to stop more or
 * less makes no difference to a thread on its way to a stop.) */
static bool is_traced(pid_t tid)
{
	return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 || errno != ESRCH;
}

bool trace_reap(struct tracee *t)
{
	siginfo_t info = { 0 };
	if (t->reaped || t->tid == t->pid)
		return true;
	if (waitid(P_PID, (id_t)t->tid, &info, WEXITED | WNOHANG | __WALL)) {
		t->reaped = errno == ECHILD;
		return t->reaped;
	}
	t->reaped = info.si_pid != 0;
	return t->reaped;
}

void trace_reap_dying(struct tracee *t)
{
	for (int i = 0; i < DYING_ROUNDS && !trace_reap(t); i++)
		nanosleep(&(struct timespec){ .tv_nsec = DYING_PAUSE_NS }, NULL);
}

void trace_reap_before(struct tracee *t)
{
	for (t = t ? t->before : NULL; t; t = t->before)
		trace_reap(t);
}

/* A stop of the thread, but never its end: a process that ends is left to whoever may be waiting
 * for it, its parent or the caller of these functions. */
static int next_stop(pid_t tid, siginfo_t *info)
{
	*info = (siginfo_t){ 0 };
	return waitid(P_PID, (id_t)tid, info, WSTOPPED | __WALL);
}

/* As next_stop(), but R_BUSY after `patience_ns`.  R_FAILED with errno set. */
static int next_stop_patiently(struct tracee *t, siginfo_t *info, uint64_t patience_ns)
{
	uint64_t deadline = now_ns() + patience_ns;
	int rc = trace_ticks_begin();
	if (rc)
		return rc;
	while ((rc = next_stop(t->tid, info)) < 0 && errno == EINTR) {
		uint64_t now = now_ns();
		trace_reap_before(t);
		if (!is_traced(t->tid)) {
			errno = ECHILD;
			break;
		}
		bool asleep =
		    t->give_up_ns && now >= t->give_up_ns && trace_hindrance(t) != HINDRANCE_NONE;
		if (now >= deadline)
			trace_hindrance(t);
		if (asleep || now >= deadline) {
			rc = R_BUSY;
			break;
		}
	}
	int error = errno;
	trace_ticks_end();
	errno = error;
	return rc;
}

static bool is_stop_signal(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static void classify(struct tracee *t, int status, enum trace_stop *stop, int *signal)
{
	int sig = status & 0xff;
	int event = status >> 8;
	*signal = 0;
	t->in_signal = false;
	if (event == PTRACE_EVENT_STOP) {
		*stop = STOP_EVENT;
		t->in_signal = true;
		t->group_stopped = is_stop_signal(sig);
		t->stop_signal = *signal = t->group_stopped ? sig : 0;
	} else if (event) {
		*stop = STOP_OTHER;
	} else if (sig == (SIGTRAP | 0x80)) {
		*stop = STOP_SYSCALL;
	} else {
		*stop = STOP_SIGNAL;
		*signal = sig;
	}
}

/* What became of a wait, as a result. */
static int conclude(struct tracee *t, int rc, const siginfo_t *info, enum trace_stop *stop,
		    int *signal)
{
	if (rc) {
		if (errno == ECHILD)
			return R_NOT_FOUND;
		warn_errno("cannot wait for thread %d of process %d", t->tid, t->pid);
		return R_FAILED;
	}
	classify(t, info->si_status, stop, signal);
	return R_OK;
}

int trace_wait(struct tracee *t, uint64_t patience_ns, enum trace_stop *stop, int *signal)
{
	siginfo_t info;
	int rc = next_stop_patiently(t, &info, patience_ns);
	return rc == R_BUSY ? R_BUSY : conclude(t, rc, &info, stop, signal);
}

int trace_wait_asking(struct tracee *t, const struct inject_site *site, enum trace_stop *stop,
		      int *signal)
{
	uint64_t first = 0;
	siginfo_t info;
	int rc;
	while ((rc = next_stop(t->tid, &info)) < 0 && errno == EINTR) {
		first = first ? first : now_ns();
		if (site->give_up && site->give_up(site->give_up_arg, now_ns() - first))
			return R_FAILED;
	}
	return conclude(t, rc, &info, stop, signal);
}

int trace_resume(struct tracee *t, int request, int signal)
{
	if (ptrace(request, t->tid, NULL, (void *)(long)signal))
		return trace_failed(t, "let go of");
	return R_OK;
}

static int order(struct tracee *t, bool running, int signal)
{
	if (ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL))
		return trace_failed(t, "stop");
	return running ? R_OK : trace_resume(t, PTRACE_CONT, signal);
}

int trace_order(struct tracee *t)
{
	int rc = order(t, false, 0);
	t->ordered = rc == R_OK;
	return rc;
}

int trace_park_patiently(struct tracee *t, bool running)
{
	int signal = 0;
	for (;;) {
		/* Any stop eats the order to stop, so it is given again each time round. */
		int rc = t->ordered ? R_OK : order(t, running, signal);
		if (rc)
			return rc;
		t->ordered = false;
		enum trace_stop stop;
		rc = trace_wait(t, PARK_PATIENCE_NS, &stop, &signal);
		if (rc || stop == STOP_EVENT)
			return rc;
		/* A signal is delivered now as it would have been, with its siginfo; the frame of
		 * its handler is then part of the state we find. */
		running = false;
	}
}

int trace_park(struct tracee *t, bool running)
{
	int rc = trace_park_patiently(t, running);
	if (rc != R_BUSY)
		return rc;
	trace_warn_late(t);
	return R_FAILED;
}

bool trace_is_held(const struct tracee *t)
{
	siginfo_t info = { 0 };
	return ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info) == 0 &&
	       info.si_code >> 8 == PTRACE_EVENT_STOP;
}
