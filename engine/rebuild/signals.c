#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/warn.h"

/* What rt_sigaction takes on x86-64. */
struct kernel_sigaction {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

/* Bytes of a siginfo_t as the kernel copies it. */
#define SIGINFO_BYTES 128
#define SIGSET_BYTES 8
#define SIGNALS 64

int signals_actions(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const TaskCoreEntry *tc = th->core->tc;
	size_t next = 0;

	/* The two that cannot be changed are left out in the image. */
	for (int sig = 1; sig <= SIGNALS && next < tc->n_sigactions; sig++) {
		struct kernel_sigaction *action = (struct kernel_sigaction *)t->r->data;
		const SaEntry *sa;
		int rc;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		sa = tc->sigactions[next++];
		if (!sa->sigaction && !sa->flags && !sa->mask && !sa->restorer)
			continue;
		*action =
		    (struct kernel_sigaction){ sa->sigaction, sa->flags, sa->restorer, sa->mask };
		rc = remote_must(th, "rt_sigaction", SYS_rt_sigaction, (uint64_t)sig,
				 remote_address(action), 0, SIGSET_BYTES, 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

/* Children that were made and ended have left signals that the program never got. */
static int drain(struct rebuild_thread *th)
{
	struct {
		uint64_t set;
		struct timespec zero;
		uint8_t info[SIGINFO_BYTES];
	} *arg = (void *)th->task->r->data;
	int64_t ret = 0;

	while (ret >= 0) {
		int rc;

		arg->set = ~0ull;
		arg->zero = (struct timespec){ 0 };
		rc = remote_try(th, &ret, SYS_rt_sigtimedwait, remote_address(&arg->set),
				remote_address(arg->info), remote_address(&arg->zero), SIGSET_BYTES,
				0, 0);
		if (rc)
			return rc;
	}
	if (ret == -EAGAIN)
		return R_OK;
	errno = (int)-ret;
	warn_errno("task %d: cannot empty its queue of signals", th->task->pid);
	return R_FAILED;
}

/*
 * SIGSTOP cannot be blocked: it would stop threads that are still being worked with.  It is ordered
 * when they are let go.  A task that is stopped already never gets it, as only SIGCONT lets it go
 * on, which takes such signals away.
 */
static bool put_off(struct rebuild_task *t, const siginfo_t *info)
{
	if (info->si_signo != SIGSTOP)
		return false;
	t->stops_at_once = t->kind == TASK_ALIVE;
	return true;
}

/* Only the thread itself may send what says it comes from the kernel or another process. */
static int queue(struct rebuild_thread *th, const SignalQueueEntry *signals, bool shared)
{
	uint64_t pid = (uint64_t)th->task->pid, tid = (uint64_t)th->tid;

	for (size_t i = 0; signals && i < signals->n_signals; i++) {
		const ProtobufCBinaryData *raw = &signals->signals[i]->siginfo;
		siginfo_t *info = (siginfo_t *)th->task->r->data;
		uint64_t at = remote_address(info);
		int rc;

		if (raw->len > SIGINFO_BYTES || raw->len < sizeof(int)) {
			warn("task %d: a pending signal of %zu bytes makes no sense", th->task->pid,
			     raw->len);
			return R_DAMAGED;
		}
		memset(info, 0, SIGINFO_BYTES);
		memcpy(info, raw->data, raw->len);
		if (put_off(th->task, info))
			continue;
		if (shared)
			rc = remote_must(th, "rt_sigqueueinfo", SYS_rt_sigqueueinfo, pid,
					 (uint64_t)info->si_signo, at, 0, 0, 0);
		else
			rc = remote_must(th, "rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, pid, tid,
					 (uint64_t)info->si_signo, at, 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

int signals_pending(struct rebuild_task *t)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = drain(&t->threads[i]);
	if (rc == R_OK)
		rc = timers_count(t);
	if (rc == R_OK)
		rc = queue(&t->threads[0], t->threads[0].core->tc->signals_s, true);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = queue(&t->threads[i], t->threads[i].core->thread_core->signals_p, false);
	return rc;
}
