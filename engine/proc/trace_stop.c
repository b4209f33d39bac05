#include "engine/proc/trace_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"

/* A running thread stops within microseconds, one in a disk wait within its I/O. */
#define PARK_PATIENCE_NS 3000000000ULL
#define LOOK_PAUSE_NS 1000000L

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
 * traced; but it may be our child, so that waitpid() would not tell.  (One order to stop more or
 * less makes no difference to a thread on its way to a stop.) */
static bool is_traced(pid_t tid)
{
	return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 || errno != ESRCH;
}

/*
 * waitpid() that gives up after `patience_ns`: 0 then.  Sleeps for the SIGCHLD of the stop, since a
 * loop that yields would wait for the time slices of the very threads it wants to stop; and looks
 * now and then, should somebody else have taken the signal.
 */
static pid_t wait_patiently(pid_t tid, int *status, uint64_t patience_ns)
{
	sigset_t child, before;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &child, &before);
	uint64_t deadline = now_ns() + patience_ns;
	const struct timespec pause = { .tv_nsec = LOOK_PAUSE_NS };
	pid_t got;
	do {
		got = waitpid(tid, status, __WALL | WNOHANG);
		if (got == 0 && sigtimedwait(&child, NULL, &pause) < 0 && !is_traced(tid)) {
			got = -1;
			errno = ECHILD;
		}
	} while (got == 0 && now_ns() < deadline);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return got;
}

static bool is_stop_signal(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static void classify(struct tracee *t, int status, enum trace_stop *stop, int *signal)
{
	int sig = WSTOPSIG(status);
	int event = status >> 16;
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

int trace_wait(struct tracee *t, uint64_t patience_ns, enum trace_stop *stop, int *signal)
{
	int status;
	pid_t got;
	do {
		if (patience_ns)
			got = wait_patiently(t->tid, &status, patience_ns);
		else
			got = waitpid(t->tid, &status, __WALL);
	} while (got < 0 && errno == EINTR);

	if (got == 0)
		return R_BUSY;
	if (got < 0) {
		if (errno == ECHILD)
			return R_NOT_FOUND;
		warn_errno("cannot wait for thread %d of process %d", t->tid, t->pid);
		return R_FAILED;
	}
	if (!WIFSTOPPED(status))
		return R_NOT_FOUND;
	classify(t, status, stop, signal);
	return R_OK;
}

int trace_resume(struct tracee *t, int request, int signal)
{
	if (ptrace(request, t->tid, NULL, (void *)(long)signal))
		return trace_failed(t, "let go of");
	return R_OK;
}

int trace_park(struct tracee *t, bool running)
{
	int signal = 0;
	for (;;) {
		/* Any stop eats the order to stop, so it is given again each time round. */
		if (ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL))
			return trace_failed(t, "stop");
		int rc = running ? R_OK : trace_resume(t, PTRACE_CONT, signal);
		if (rc)
			return rc;
		enum trace_stop stop;
		rc = trace_wait(t, PARK_PATIENCE_NS, &stop, &signal);
		if (rc == R_BUSY) {
			warn("thread %d of process %d does not stop: it waits inside the kernel "
			     "(state D "
			     "in ps); try again when it is through",
			     t->tid, t->pid);
			return R_FAILED;
		}
		if (rc || stop == STOP_EVENT)
			return rc;
		/* A signal is delivered now as it would have been, with its siginfo; the frame of
		 * its handler is then part of the state we find. */
		running = false;
	}
}
