#include "engine/proc/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ending.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"
#include "engine/proc/trace_internal.h"

#define REFUSALS 5
#define REFUSAL_PAUSE_NS 500000L

/* The kernel refused to let us trace the thread: finds out why.  R_OK if we do already, R_BUSY
 * without a reason. */
static int seize_refused(pid_t pid, pid_t tid, int error)
{
	struct proc_status status;
	if (error == ESRCH || proc_status_read(pid, tid, &status) != R_OK)
		return R_NOT_FOUND;
	if (status.state == 'Z' || status.state == 'X')
		return R_NOT_FOUND;
	if (status.tracer_pid == gettid())
		return R_OK;
	if (status.tracer_pid > 0) {
		warn(
		    "thread %d of process %d is traced by process %d (a debugger?); end that first",
		    tid, pid, status.tracer_pid);
		return R_UNSUPPORTED;
	}
	if (error == EPERM)
		return R_BUSY;
	errno = error;
	warn_errno("cannot trace thread %d of process %d", tid, pid);
	return R_FAILED;
}

static void find_seccomp(struct tracee *t)
{
	struct proc_status status;
	if (proc_status_read(t->pid, t->tid, &status) == R_OK)
		t->seccomp_live = status.seccomp != 0;
}

/*
 * Remote calls must not be judged by the target's seccomp filters; to switch them off for the time
 * being takes CAP_SYS_ADMIN.  Where that is missing a thread with a filter can only be looked at.
 * *ours is set for a thread that is traced already, having executed another program while it was.
 */
static int attach_once(struct tracee *t, bool *ours)
{
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)SEIZE_OPTIONS_WISHED) == 0)
		return R_OK;
	if (errno == ESRCH)
		return R_NOT_FOUND;
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)(long)SEIZE_OPTIONS)) {
		int rc = seize_refused(t->pid, t->tid, errno);
		*ours = rc == R_OK;
		return rc;
	}
	find_seccomp(t);
	return R_OK;
}

/* A leader that is being replaced is refused like a thread one has no right to. */
static int attach(struct tracee *t, bool *ours)
{
	int rc = attach_once(t, ours);
	for (int i = 0; rc == R_BUSY && i < REFUSALS; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = REFUSAL_PAUSE_NS }, NULL);
		rc = attach_once(t, ours);
	}
	if (rc != R_BUSY)
		return rc;
	warn("cannot trace thread %d of process %d; CAP_SYS_PTRACE is needed", t->tid, t->pid);
	return R_FAILED;
}

/* Seizing waits for an execve of the process, and that for the threads it ended to be reaped. */
static int seize(struct tracee *t, bool *ours)
{
	if (!t->before)
		return attach(t, ours);
	int rc = trace_ticks_begin();
	if (rc)
		return rc;
	trace_ticks_reap(t);
	rc = attach(t, ours);
	trace_ticks_reap(NULL);
	trace_ticks_end();
	return rc;
}

static void let_go(struct tracee *t)
{
	if (ptrace(PTRACE_DETACH, t->tid, NULL, NULL) && errno != ESRCH)
		warn_errno("cannot let go of thread %d of process %d", t->tid, t->pid);
}

static void clear(struct tracee *t, pid_t pid, pid_t tid)
{
	memset(t, 0, offsetof(struct tracee, xstate));
	t->xstate.bytes = 0;
	t->pid = pid;
	t->tid = tid;
}

/* Stops and looks at a thread that is traced.  Our own end, as far as it can, waits until the
 * thread's interrupted call is repaired. */
static int stop_and_look(struct tracee *t, bool running)
{
	ending_hold();
	int rc = trace_park_patiently(t, running);
	if (rc == R_OK)
		rc = trace_look(t);
	ending_allow();
	return rc;
}

/* Stands it in a stop already, from which no wait would tell any more? */
static bool stands(const struct tracee *t)
{
	siginfo_t info = { 0 };
	if (ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info))
		return false;
	waitid(P_PID, (id_t)t->tid, &info, WSTOPPED | WNOHANG | __WALL);
	return true;
}

int trace_seize(pid_t pid, pid_t tid, const struct trace_company *company, struct tracee *t)
{
	bool ours = false;
	clear(t, pid, tid);
	if (company) {
		t->before = company->before;
		t->give_up_ns = company->give_up_ns;
	}
	int rc = seize(t, &ours);
	if (rc)
		return rc;
	rc = stop_and_look(t, !(ours && stands(t)));
	if (rc == R_OK && ours &&
	    ptrace(PTRACE_SETOPTIONS, t->tid, NULL, (void *)SEIZE_OPTIONS_WISHED))
		find_seccomp(t);
	if (rc == R_BUSY && company)
		return rc;
	if (rc == R_BUSY) {
		trace_warn_late(t);
		rc = R_FAILED;
	}
	if (rc != R_OK && rc != R_NOT_FOUND)
		let_go(t);
	return rc;
}

int trace_await(struct tracee *t, uint64_t patience_ns)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	t->give_up_ns = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec + patience_ns;
	int rc = stop_and_look(t, true);
	if (rc == R_BUSY)
		trace_warn_late(t);
	return rc;
}

int trace_adopt(pid_t pid, pid_t tid, struct tracee *t)
{
	clear(t, pid, tid);
	int rc = trace_park(t, true);
	return rc ? rc : trace_look(t);
}

int trace_adopt_bare(pid_t pid, pid_t tid, struct tracee *t)
{
	clear(t, pid, tid);
	int rc = trace_park(t, true);
	if (rc)
		return rc;
	if (arch_regs_get(t->tid, &t->regs) != R_OK)
		return trace_failed(t, "read the registers of");
	return R_OK;
}

int trace_set_options(const struct tracee *t, int options)
{
	/* Who may suspend filters had that set from the beginning. */
	long all = TRACE_OPTIONS | options, with_suspend = all | PTRACE_O_SUSPEND_SECCOMP;
	if (ptrace(PTRACE_SETOPTIONS, t->tid, NULL, (void *)with_suspend) == 0)
		return R_OK;
	if (ptrace(PTRACE_SETOPTIONS, t->tid, NULL, (void *)all))
		return trace_failed(t, "set ptrace options of");
	return R_OK;
}

static int settle(struct tracee *t)
{
	/* The kernel restarts an interrupted call with its true remaining time only on the way out
	 * of signal handling, and PTRACE_EVENT_STOP is inside of that. */
	int rc = t->in_signal ? R_OK : trace_park(t, false);
	if (rc)
		return rc;
	/* In this order: until the last step the registers lead home over the frame. */
	rc = trace_mask_set(t, t->sigmask);
	if (rc)
		return rc;
	if (arch_regs_set(t->tid, &t->regs) != R_OK)
		return trace_failed(t, "put back the registers of");
	t->injected = false;
	return R_OK;
}

int trace_settle(struct tracee *t)
{
	int rc = t->injected ? settle(t) : R_OK;
	if (t->holds_ending) {
		t->holds_ending = false;
		ending_allow();
	}
	return rc;
}

int trace_release(struct tracee *t)
{
	int rc = trace_settle(t);
	if (rc == R_NOT_FOUND)
		return rc;
	/* A stop by job control is reinstated by the kernel as we let go. */
	if (ptrace(PTRACE_DETACH, t->tid, NULL, NULL))
		return trace_failed(t, "let go of");
	return rc;
}
