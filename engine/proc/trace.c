#include "engine/proc/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"
#include "engine/proc/trace_internal.h"

/* The kernel refused to let us trace the thread: finds out why. */
static int seize_refused(pid_t pid, pid_t tid, int error)
{
	struct proc_status status;
	if (error == ESRCH || proc_status_read(pid, tid, &status) != R_OK)
		return R_NOT_FOUND;
	if (status.state == 'Z' || status.state == 'X')
		return R_NOT_FOUND;
	if (status.tracer_pid > 0) {
		warn(
		    "thread %d of process %d is traced by process %d (a debugger?); end that first",
		    tid, pid, status.tracer_pid);
		return R_UNSUPPORTED;
	}
	errno = error;
	warn_errno("cannot trace thread %d of process %d; CAP_SYS_PTRACE is needed", tid, pid);
	return R_FAILED;
}

/* Remote calls must not be judged by the target's seccomp filters; to switch them off for the time
 * being takes CAP_SYS_ADMIN.  Where that is missing a thread with a filter can only be looked at.
 */
static int seize(struct tracee *t)
{
	long with_suspend = TRACE_OPTIONS | PTRACE_O_SUSPEND_SECCOMP;
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)with_suspend) == 0)
		return R_OK;
	if (errno == ESRCH)
		return R_NOT_FOUND;
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)(long)TRACE_OPTIONS))
		return seize_refused(t->pid, t->tid, errno);
	struct proc_status status;
	if (proc_status_read(t->pid, t->tid, &status) == R_OK)
		t->seccomp_live = status.seccomp != 0;
	return R_OK;
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

int trace_seize(pid_t pid, pid_t tid, struct tracee *t)
{
	clear(t, pid, tid);
	int rc = seize(t);
	if (rc)
		return rc;
	rc = trace_park(t, true);
	if (rc == R_OK)
		rc = trace_look(t);
	if (rc != R_OK && rc != R_NOT_FOUND)
		let_go(t);
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

int trace_settle(struct tracee *t)
{
	if (!t->injected)
		return R_OK;
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
