/* Holding the threads of one process. */
#include "engine/proc/freeze_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace_internal.h"

static bool has_thread(const struct tree_task *task, pid_t tid)
{
	for (size_t i = 0; i < task->thread_count; i++)
		if (task->threads[i]->tid == tid && !task->threads[i]->lost)
			return true;
	return false;
}

static int add_thread(struct tree_task *task, pid_t tid, uint64_t give_up_ns, struct tracee **late)
{
	struct tracee **more =
	    realloc(task->threads, (task->thread_count + 1) * sizeof(struct tracee *));
	if (more)
		task->threads = more;
	struct tracee *t = aligned_alloc(64, sizeof(struct tracee));
	if (!more || !t) {
		warn_errno("cannot freeze process %d", task->pid);
		free(t);
		return R_FAILED;
	}
	struct trace_company company = {
		.before = task->thread_count ? task->threads[task->thread_count - 1] : NULL,
		.give_up_ns = give_up_ns,
	};
	int rc = trace_seize(task->pid, tid, &company, t);
	if (rc == R_BUSY) {
		*late = t;
		return rc;
	}
	/* Died between two of our steps: somebody may be waiting for us to reap it. */
	t->lost = rc == R_NOT_FOUND;
	if (rc == R_OK || (t->lost && !trace_reap(t)))
		task->threads[task->thread_count++] = t;
	else
		free(t);
	return rc;
}

int task_hold(struct tree_task *task, uint64_t give_up_ns, struct tracee **late, bool *news)
{
	pid_t *tids;
	size_t count;
	bool vanished = false;
	if (task->listed)
		return R_OK;
	int rc = proc_threads(task->pid, &tids, &count);
	for (size_t i = 0; rc == R_OK && i < count; i++) {
		if (has_thread(task, tids[i]))
			continue;
		*news = true;
		rc = add_thread(task, tids[i], give_up_ns, late);
		vanished |= rc == R_NOT_FOUND;
		if (rc == R_NOT_FOUND && tids[i] != task->pid)
			rc = R_OK; /* what it started before is found in the next round */
	}
	free(tids);
	task->listed = rc == R_OK && !vanished;
	/* It ended, or executed another program, which ended the others and made it the leader. */
	if (vanished || rc == R_NOT_FOUND)
		task_is_held(task);
	return rc;
}

bool task_is_held(struct tree_task *task)
{
	bool all = true;
	for (size_t i = 0; i < task->thread_count; i++) {
		struct tracee *t = task->threads[i];
		if (!t->lost && trace_is_held(t))
			continue;
		all &= t->lost && trace_reap(t);
		if (!t->lost) {
			t->lost = true;
			trace_reap(t);
		}
	}
	return all;
}

void task_tidy(struct tree_task *task)
{
	struct tracee *before = NULL;
	size_t kept = 0;
	for (size_t i = 0; i < task->thread_count; i++) {
		struct tracee *t = task->threads[i];
		if (t->lost && trace_reap(t)) {
			free(t);
			continue;
		}
		t->before = before;
		before = task->threads[kept++] = t;
	}
	task->thread_count = kept;
}

/* As tracer we are told of each end and the kernel tells nobody else before.  `flags` beside
 * WEXITED. */
static void bury(const struct tree_task *task, pid_t tid, int flags)
{
	siginfo_t info;
	if (tid == task->pid && task->ppid == getpid())
		flags |= WNOWAIT;
	while (waitid(P_PID, (id_t)tid, &info, WEXITED | __WALL | flags) && errno == EINTR)
		;
}

static void empty(struct tree_task *task)
{
	for (size_t i = 0; i < task->thread_count; i++)
		free(task->threads[i]);
	free(task->threads);
	task->threads = NULL;
	task->thread_count = 0;
}

int task_release(struct tree_task *task)
{
	int result = R_OK;
	/* The leader last: it is not reported as dead before its threads are. */
	for (size_t i = task->thread_count; i-- > 0;) {
		struct tracee *t = task->threads[i];
		int rc = R_NOT_FOUND;
		if (!t->lost)
			rc = trace_release(t);
		else if (t->tid == t->pid) /* whoever has the number now */
			ptrace(PTRACE_DETACH, t->tid, NULL, NULL);
		if (rc == R_NOT_FOUND && t->tid != t->pid)
			trace_reap_dying(t);
		else if (rc == R_NOT_FOUND && !t->reaped)
			bury(task, t->tid, WNOHANG);
		if (rc == R_FAILED)
			result = R_FAILED;
	}
	empty(task);
	return result;
}

int task_disown(struct tree_task *task)
{
	int rc = task_release(task);
	bury(task, task->pid, WNOHANG);
	return rc;
}

void task_bury(struct tree_task *task)
{
	for (size_t i = task->thread_count; i-- > 0;)
		if (!task->threads[i]->reaped)
			bury(task, task->threads[i]->tid, 0);
	empty(task);
}
