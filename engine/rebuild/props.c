#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/warn.h"
#include "engine/proc/fds/fds.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

/* What /proc/PID/loginuid says of a task that nobody logged in for. */
#define LOGINUID_UNSET UINT32_MAX

/* What sched_setattr(2) takes, first version. */
struct kernel_sched_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* Writes a small file of /proc/PID.  R_FAILED with errno set and nothing reported. */
static int proc_write(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return io_write_file(AT_FDCWD, path, text, strlen(text));
}

/* ---- of us ---- */

/* One thing that every child has of its parent, and images tell where it is not the default. */
struct passed_on {
	const char *what;
	int get, usual; /* prctl that asks for it, and its answer where there is nothing to shed */
	int set, arg2, arg3;
};

static const struct passed_on passed_on[] = {
	{ "PR_SET_THP_DISABLE", PR_GET_THP_DISABLE, 0, PR_SET_THP_DISABLE, 0, 0 },
	{ "PR_SET_MEMORY_MERGE", PR_GET_MEMORY_MERGE, 0, PR_SET_MEMORY_MERGE, 0, 0 },
	{ "PR_MCE_KILL", PR_MCE_KILL_GET, PR_MCE_KILL_DEFAULT, PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0 },
	{ "PR_SET_IO_FLUSHER", PR_GET_IO_FLUSHER, 0, PR_SET_IO_FLUSHER, 0, 0 },
};

int props_shed(struct rebuild_thread *th)
{
	unsigned long own = (unsigned long)personality(0xffffffff);
	int rc = R_OK, policy = MPOL_DEFAULT;

	if (own)
		rc = remote_must(th, "personality", SYS_personality, 0, 0, 0, 0, 0, 0);
	for (size_t i = 0; rc == R_OK && i < sizeof(passed_on) / sizeof(*passed_on); i++) {
		const struct passed_on *p = &passed_on[i];
		int now = prctl(p->get, 0, 0, 0, 0);

		/* -1: a kernel that has no such thing. */
		if (now >= 0 && now != p->usual)
			rc = remote_must(th, p->what, SYS_prctl, (uint64_t)p->set,
					 (uint64_t)p->arg2, (uint64_t)p->arg3, 0, 0, 0);
	}
	if (rc == R_OK && syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0) == 0 &&
	    policy != MPOL_DEFAULT)
		rc = remote_must(th, "set_mempolicy", SYS_set_mempolicy, MPOL_DEFAULT, 0, 0, 0, 0,
				 0);
	return rc;
}

/* ---- of the process ---- */

/* A limit that we may not raise stays where it is: the program goes on, and the user is told. */
static void set_limit(struct rebuild_task *t, int resource, const RlimitEntry *entry)
{
	struct rlimit want = { entry->cur, entry->max }, have;

	if (!prlimit(t->pid, resource, &want, NULL))
		return;
	if (prlimit(t->pid, resource, NULL, &have)) {
		warn_errno("task %d: resource limit %d", t->pid, resource);
		return;
	}
	warn("task %d: resource limit %d was %llu and stays at %llu; raising it takes "
	     "CAP_SYS_RESOURCE",
	     t->pid, resource, (unsigned long long)want.rlim_max,
	     (unsigned long long)have.rlim_max);
	if (want.rlim_max > have.rlim_max)
		want.rlim_max = have.rlim_max;
	if (want.rlim_cur > want.rlim_max)
		want.rlim_cur = want.rlim_max;
	if (prlimit(t->pid, resource, &want, NULL))
		warn_errno("task %d: resource limit %d", t->pid, resource);
}

static void set_limits(struct rebuild_task *t)
{
	const TaskRlimitsEntry *limits = t->threads[0].core->tc->rlimits;

	for (size_t i = 0; limits && i < limits->n_rlimits && i < RLIM_NLIMITS; i++)
		set_limit(t, (int)i, limits->rlimits[i]);
}

static void set_proc_files(struct rebuild_task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	char text[32];

	if (tc->has_oom_score_adj) {
		snprintf(text, sizeof(text), "%d", tc->oom_score_adj);
		if (proc_write(t->pid, "oom_score_adj", text))
			warn_errno("task %d: oom_score_adj %s", t->pid, text);
	}
	if (t->extra && t->extra->has_coredump_filter) {
		snprintf(text, sizeof(text), "0x%llx",
			 (unsigned long long)t->extra->coredump_filter);
		if (proc_write(t->pid, "coredump_filter", text))
			warn_errno("task %d: coredump_filter", t->pid);
	}
	if (t->extra && t->extra->has_autogroup_nice && t->extra->autogroup_nice) {
		snprintf(text, sizeof(text), "%d", t->extra->autogroup_nice);
		if (proc_write(t->pid, "autogroup", text))
			warn_errno("task %d: autogroup", t->pid);
	}
}

/* The restored task goes on without it; whoever reads its audit records should know. */
static int tell_loginuid(const struct rebuild_task *t, int error)
{
	note("task %d: its login uid %u cannot be set: %s", t->pid,
	     t->threads[0].core->tc->loginuid, strerror(error));
	return R_OK;
}

/* The audit id can be written by the task itself only, and only while /proc is in its root. */
static int write_loginuid(struct rebuild_task *t, const char *value)
{
	struct rebuild_thread *th = &t->threads[0];
	char *path = (char *)t->r->data, *text = path + 64;
	int64_t fd, put;
	int rc;

	strcpy(path, "/proc/self/loginuid");
	strcpy(text, value);
	rc = remote_try(th, &fd, SYS_openat, (uint64_t)AT_FDCWD, remote_address(path), O_WRONLY, 0,
			0, 0);
	if (rc)
		return rc;
	if (fd < 0)
		return tell_loginuid(t, (int)-fd);
	rc = remote_try(th, &put, SYS_write, (uint64_t)fd, remote_address(text), strlen(text), 0, 0,
			0);
	if (rc == R_OK && put < 0)
		tell_loginuid(t, (int)-put);
	return rc ? rc : remote_must(th, "close", SYS_close, (uint64_t)fd, 0, 0, 0, 0, 0);
}

/* Every task has ours to begin with. */
static int set_loginuid(struct rebuild_task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	char text[16], now[16] = "";
	int own;

	if (!tc->has_loginuid)
		return R_OK;
	own = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
	if (own < 0) /* a kernel without audit, where nobody has one */
		return tc->loginuid == LOGINUID_UNSET ? R_OK : tell_loginuid(t, errno);
	if (read(own, now, sizeof(now) - 1) < 0)
		now[0] = 0;
	close(own);
	snprintf(text, sizeof(text), "%u", tc->loginuid);
	return strcmp(now, text) == 0 ? R_OK : write_loginuid(t, text);
}

int props_folders(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	int cwd = fds_restore_fd(t->r->fds, t->fs->cwd_id);
	int root = fds_restore_fd(t->r->fds, t->fs->root_id);
	const char *root_path = fds_restore_path(t->r->fds, t->fs->root_id);
	int rc;

	rc = set_loginuid(t);
	if (rc)
		return rc;
	if (root >= 0 && root_path && strcmp(root_path, "/") != 0) {
		rc = remote_must(th, "fchdir", SYS_fchdir, (uint64_t)root, 0, 0, 0, 0, 0);
		if (rc)
			return rc;
		strcpy((char *)t->r->data, ".");
		rc = remote_must(th, "chroot", SYS_chroot, remote_address(t->r->data), 0, 0, 0, 0,
				 0);
		if (rc)
			return rc;
	}
	if (cwd < 0) {
		warn("task %d: its working directory is not among the files of the generation",
		     t->pid);
		return R_DAMAGED;
	}
	rc = remote_must(th, "fchdir", SYS_fchdir, (uint64_t)cwd, 0, 0, 0, 0, 0);
	if (rc == R_OK && t->fs->has_umask)
		rc = remote_must(th, "umask", SYS_umask, t->fs->umask, 0, 0, 0, 0, 0);
	return rc;
}

static int set_membarrier(struct rebuild_task *t)
{
	uint32_t mask = t->threads[0].core->tc->membarrier_registration_mask;

	for (uint32_t bit = 0; bit < 32; bit++) {
		int rc;

		if (!(mask >> bit & 1))
			continue;
		rc = remote_must(&t->threads[0], "membarrier", SYS_membarrier, 1u << bit, 0, 0, 0,
				 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

int props_set(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const TaskCoreEntry *tc = th->core->tc;
	int rc = R_OK;

	set_limits(t);
	set_proc_files(t);
	if (tc->personality)
		rc =
		    remote_must(th, "personality", SYS_personality, tc->personality, 0, 0, 0, 0, 0);
	if (rc == R_OK && tc->child_subreaper)
		rc = remote_must(th, "prctl(PR_SET_CHILD_SUBREAPER)", SYS_prctl,
				 PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0);
	if (rc == R_OK && tc->membarrier_registration_mask)
		rc = set_membarrier(t);
	if (rc == R_OK && t->extra && t->extra->mdwe)
		rc = remote_must(th, "prctl(PR_SET_MDWE)", SYS_prctl, PR_SET_MDWE, t->extra->mdwe,
				 0, 0, 0, 0);
	return rc;
}

/* ---- of a thread ---- */

static int set_schedule(struct rebuild_thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	const SnapThreadEntry *extra = th->extra;
	struct kernel_sched_attr attr = { .size = sizeof(attr) };

	/* By itself first: a real-time policy does not take one along. */
	if (setpriority(PRIO_PROCESS, (id_t)th->tid, tc->sched_nice))
		return -1;
	if (!tc->sched_policy && !(extra && extra->sched_flags) &&
	    sched_getscheduler(th->tid) == SCHED_OTHER)
		return 0;
	/* In images of CRIU's a bit of the policy, as sched_getscheduler(2) tells it. */
	attr.policy = tc->sched_policy & ~(uint32_t)SCHED_RESET_ON_FORK;
	if (tc->sched_policy & SCHED_RESET_ON_FORK)
		attr.flags = 1; /* SCHED_FLAG_RESET_ON_FORK */
	attr.nice = tc->sched_nice;
	attr.priority = tc->sched_prio;
	if (extra) {
		attr.flags |= extra->sched_flags;
		attr.runtime = extra->sched_runtime;
		attr.deadline = extra->sched_deadline;
		attr.period = extra->sched_period;
	}
	return (int)syscall(SYS_sched_setattr, th->tid, &attr, 0);
}

static void set_from_outside(struct rebuild_thread *th)
{
	const SnapThreadEntry *extra = th->extra;

	if (set_schedule(th))
		warn_errno("task %d thread %d: scheduling policy %u, nice %d", th->task->pid,
			   th->tid, th->core->thread_core->sched_policy,
			   th->core->thread_core->sched_nice);
	if (!extra)
		return;
	if (extra->has_affinity &&
	    syscall(SYS_sched_setaffinity, th->tid, extra->affinity.len, extra->affinity.data) < 0)
		warn_errno("task %d thread %d: processor affinity", th->task->pid, th->tid);
	if (extra->has_ioprio &&
	    syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, th->tid, extra->ioprio) < 0)
		warn_errno("task %d thread %d: input/output priority", th->task->pid, th->tid);
}

static int set_memory_policy(struct rebuild_thread *th)
{
	const SnapThreadEntry *extra = th->extra;
	void *nodes = th->task->r->data;
	size_t bytes;

	if (!extra || !extra->has_mempolicy)
		return R_OK;
	bytes = extra->mempolicy_nodes.len;
	if (bytes > th->task->r->data_bytes) {
		warn("task %d thread %d: a set of memory nodes of %zu bytes makes no sense",
		     th->task->pid, th->tid, bytes);
		return R_DAMAGED;
	}
	if (bytes)
		memcpy(nodes, extra->mempolicy_nodes.data, bytes);
	/* The kernel counts the bits from 1. */
	return remote_must(th, "set_mempolicy", SYS_set_mempolicy, extra->mempolicy,
			   remote_address(nodes), bytes * 8 + 1, 0, 0, 0);
}

int props_thread(struct rebuild_thread *th)
{
	const char *name = th->core->thread_core->comm;
	char *text = (char *)th->task->r->data;
	int rc;

	if (th == &th->task->threads[0])
		name = th->core->tc->comm;
	set_from_outside(th);
	if (name) {
		memset(text, 0, 16);
		strncpy(text, name, 15);
		rc = remote_must(th, "prctl(PR_SET_NAME)", SYS_prctl, PR_SET_NAME,
				 remote_address(text), 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	if (th->extra && th->extra->has_timerslack_ns && th->extra->timerslack_ns) {
		rc = remote_must(th, "prctl(PR_SET_TIMERSLACK)", SYS_prctl, PR_SET_TIMERSLACK,
				 th->extra->timerslack_ns, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	if (th->extra && th->extra->tsc_mode == PR_TSC_SIGSEGV) {
		rc = remote_must(th, "prctl(PR_SET_TSC)", SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0,
				 0, 0, 0);
		if (rc)
			return rc;
	}
	if (th->extra && th->extra->has_mce_kill && th->extra->mce_kill != PR_MCE_KILL_DEFAULT) {
		rc = remote_must(th, "prctl(PR_MCE_KILL)", SYS_prctl, PR_MCE_KILL, PR_MCE_KILL_SET,
				 th->extra->mce_kill, 0, 0, 0);
		if (rc)
			return rc;
	}
	rc = set_memory_policy(th);
	if (rc)
		return rc;
	if (th->extra && th->extra->io_flusher)
		return remote_must(th, "prctl(PR_SET_IO_FLUSHER)", SYS_prctl, PR_SET_IO_FLUSHER, 1,
				   0, 0, 0, 0);
	return R_OK;
}
