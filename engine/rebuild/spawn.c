#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/warn.h"
#include "engine/proc/trace_internal.h"

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif

/* The end of user space below which every layout of x86-64 lives (47 bits less the guard page). */
#define TASK_END 0x7ffffffff000ull

/* Whatever goes wrong with us, the tree dies; filters, where there are any, take effect when we let
 * go.  Suspending them takes CAP_SYS_ADMIN, so it is not asked for in vain. */
static int rebuild_options(const struct rebuild *r)
{
	return PTRACE_O_EXITKILL | (r->seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0);
}

static int adopt(struct rebuild_thread *th)
{
	int rc = trace_adopt(th->task->pid, th->tid, &th->tracee);

	if (rc == R_OK)
		rc = inject_begin(&th->tracee, &th->site);
	if (rc == R_NOT_FOUND) {
		warn("task %d thread %d: ended at once", th->task->pid, th->tid);
		return R_FAILED;
	}
	return rc;
}

int spawn_clone(struct rebuild_thread *maker, uint64_t flags, int exit_signal,
		struct rebuild_thread *child)
{
	struct rebuild *r = maker->task->r;
	struct clone_args *args = (struct clone_args *)r->data;
	pid_t *tid = (pid_t *)(args + 1);
	int rc, tries = 0;
	int64_t ret;

	memset(args, 0, sizeof(*args));
	*tid = child->tid;
	/* CLONE_PTRACE: the child comes attached to us with the maker's options, and stopped. */
	args->flags = flags | CLONE_PTRACE;
	args->exit_signal = (uint64_t)exit_signal;
	args->set_tid = remote_address(tid);
	args->set_tid_size = 1;
	do
		rc = remote_try(maker, &ret, SYS_clone3, remote_address(args), sizeof(*args), 0, 0,
				0, 0);
	while (rc == R_OK && ret == -EEXIST && pid_lingers(r, child->tid, &tries));
	if (rc)
		return rc;
	if (ret == -EEXIST)
		return pid_busy(r, child->tid);
	if (ret < 0) {
		errno = (int)-ret;
		warn_errno("task %d: cannot make %s %d", maker->task->pid,
			   flags & CLONE_THREAD ? "thread" : "task", child->tid);
		return R_FAILED;
	}
	child->exists = true;
	child->site = maker->site;
	child->site.pid = child->task->pid;
	child->site.user = 0;
	return adopt(child);
}

/* Life of the root until it is stopped: nothing that could go wrong.  Nobody else would end it if
 * its parent died before that. */
static void __attribute__((noreturn)) wait_to_be_taken(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (;;)
		pause();
}

static pid_t clone_root(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = remote_address(&pid),
		.set_tid_size = 1,
	};
	pid_t parent = getpid(), got = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (got == 0)
		wait_to_be_taken(parent);
	return got;
}

/*
 * The process between us and a detached root: it makes the root, tells how that went, and ends when
 * told to (or when we are gone: then the root goes with it, unless it is traced and dies anyway).
 * Its end hands the root over to init.
 */
static void __attribute__((noreturn)) be_middle(pid_t pid, int report, int orders)
{
	int error = 0;
	char order;

	if (clone_root(pid) < 0)
		error = errno;
	/* Either fails if we are gone already. */
	if ((write(report, &error, sizeof(error)) != sizeof(error) ||
	     read(orders, &order, 1) != 1) &&
	    !error)
		kill(pid, SIGKILL);
	_exit(0);
}

/* R_OK; R_BUSY, not reported, if its number is not free; R_FAILED. */
static int report_root(const struct rebuild *r, int error)
{
	if (!error)
		return R_OK;
	if (error == EEXIST)
		return R_BUSY;
	errno = error;
	warn_errno("cannot make task %d%s", r->root->pid,
		   error == EPERM ? " (CAP_CHECKPOINT_RESTORE is needed)" : "");
	return R_FAILED;
}

/* Our signal actions were inherited; images hold none that are the default.  Done from outside: the
 * root may be taken before it has done anything itself. */
static int reset_signals(struct rebuild_thread *th)
{
	void *plain = th->task->r->data;
	int rc = R_OK;

	memset(plain, 0, 4 * sizeof(uint64_t)); /* handler, flags, restorer, mask */
	for (int sig = 1; sig < NSIG && rc == R_OK; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			rc = remote_must(th, "rt_sigaction", SYS_rt_sigaction, (uint64_t)sig,
					 remote_address(plain), 0, sizeof(uint64_t), 0, 0);
	return rc;
}

/* Seizes the root, wherever it stands. */
static int take_root(struct rebuild *r)
{
	struct rebuild_thread *th = &r->root->threads[0];
	int rc;

	th->exists = true;
	rc = trace_seize(th->tid, th->tid, NULL, &th->tracee);
	if (rc == R_OK)
		rc = trace_set_options(&th->tracee, rebuild_options(th->task->r));
	if (rc == R_OK)
		rc = inject_begin(&th->tracee, &th->site);
	/* Its parent's end is planned. */
	if (rc == R_OK)
		rc = remote_must(th, "prctl(PR_SET_PDEATHSIG)", SYS_prctl, PR_SET_PDEATHSIG, 0, 0,
				 0, 0, 0);
	if (rc == R_OK)
		rc = reset_signals(th);
	if (rc == R_OK)
		rc = props_shed(th);
	if (rc == R_NOT_FOUND) {
		warn("task %d: ended at once", th->tid);
		rc = R_FAILED;
	}
	return rc;
}

static int make_root_detached(struct rebuild *r)
{
	int report[2], orders[2], error = EIO, rc;
	pid_t middle;

	if (pipe2(report, O_CLOEXEC))
		goto err0;
	if (pipe2(orders, O_CLOEXEC))
		goto err1;
	middle = fork();
	if (middle < 0)
		goto err2;
	if (middle == 0) {
		close(report[0]);
		close(orders[1]);
		be_middle(r->root->pid, report[1], orders[0]);
	}
	close(report[1]);
	close(orders[0]);
	if (read(report[0], &error, sizeof(error)) != sizeof(error))
		error = EIO;
	rc = report_root(r, error);
	if (rc == R_OK)
		rc = take_root(r);
	/* The answer must reach it only now: the root is ours, its end takes nobody along. */
	if (rc == R_OK && write(orders[1], "", 1) != 1)
		rc = R_FAILED;
	close(orders[1]);
	close(report[0]);
	while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	return rc;

err2:
	close(orders[0]);
	close(orders[1]);
err1:
	close(report[0]);
	close(report[1]);
err0:
	warn_errno("cannot start a process");
	return R_FAILED;
}

/* Results as report_root. */
static int try_root(struct rebuild *r)
{
	sigset_t all, before;
	int rc;

	/* Blocked in the seed from its first moment; every task inherits that until its own mask is
	 * put back. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	if (!r->foreground) {
		rc = make_root_detached(r);
	} else {
		rc = report_root(r, clone_root(r->root->pid) < 0 ? errno : 0);
		if (rc == R_OK)
			rc = take_root(r);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int make_root(struct rebuild *r)
{
	int rc, tries = 0;

	do
		rc = try_root(r);
	while (rc == R_BUSY && pid_lingers(r, r->root->pid, &tries));
	return rc == R_BUSY ? pid_busy(r, r->root->pid) : rc;
}

/* The C library's registration, inherited by fork; its memory goes away. */
static int forget_rseq(struct rebuild_thread *th)
{
	if (!th->tracee.rseq_address)
		return R_OK;
	return remote_must(th, "rseq", SYS_rseq, th->tracee.rseq_address, th->tracee.rseq_bytes,
			   1 /* RSEQ_FLAG_UNREGISTER */, th->tracee.rseq_signature, 0, 0);
}

/* The root drops our memory at once, so that no further task has to copy its page tables. */
static int drop_memory(struct rebuild_thread *th)
{
	struct rebuild *r = th->task->r;
	uint64_t from = remote_address(r->scratch);
	uint64_t to = remote_address(r->data) + r->data_bytes;
	int rc;

	rc = forget_rseq(th);
	if (rc)
		return rc;
	rc = remote_must(th, "munmap", SYS_munmap, 0, from, 0, 0, 0, 0);
	if (rc)
		return rc;
	return remote_must(th, "munmap", SYS_munmap, to, TASK_END - to, 0, 0, 0, 0);
}

static int make_children(struct rebuild_task *t, bool early);

/* `t` exists and is in the session it was born into: its offspring, and its own session between. */
static int grow(struct rebuild_task *t)
{
	int rc = inherit_prepare(t);

	if (rc == R_OK)
		rc = make_children(t, true);
	if (rc)
		return rc;
	if (t->sid == t->pid) {
		rc = remote_must(&t->threads[0], "setsid", SYS_setsid, 0, 0, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	return make_children(t, false);
}

/* What its end sends to its parent; 0: nothing. */
static int signal_of(const struct rebuild_task *t)
{
	return t->extra && t->extra->has_exit_signal && t->extra->exit_signal <= 64
		   ? (int)t->extra->exit_signal
		   : SIGCHLD;
}

static int make_task(struct rebuild_task *t)
{
	uint64_t flags = 0;
	int rc;

	if (t->maker != t->parent)
		flags |= CLONE_PARENT;
	else if (t->kind != TASK_ZOMBIE && t->kind != TASK_HELPER) {
		/* Shared with the parent, as far as the images number such things. */
		if (t->files_id == t->parent->files_id && t->parent->kind != TASK_HELPER)
			flags |= CLONE_FILES;
		if (t->fs_id && t->fs_id == t->parent->fs_id)
			flags |= CLONE_FS;
	}
	/* Made for its parent by another one, it is given that one's signal. */
	if (flags & CLONE_PARENT && signal_of(t) != signal_of(t->maker))
		note("task %d: its end will send signal %d to its parent, not %d", t->pid,
		     signal_of(t->maker), signal_of(t));
	rc = spawn_clone(&t->maker->threads[0], flags, flags & CLONE_PARENT ? 0 : signal_of(t),
			 &t->threads[0]);
	return rc ? rc : grow(t);
}

static int make_children(struct rebuild_task *t, bool early)
{
	struct rebuild *r = t->r;
	int rc;

	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *child = r->tasks[i];

		if (child->maker != t || child->made_early != early)
			continue;
		rc = make_task(child);
		if (rc)
			return rc;
	}
	return R_OK;
}

int spawn_tree(struct rebuild *r)
{
	int rc;

	r->root->threads[0].site = (struct inject_site){
		.pid = r->root->pid,
		.syscall_ret = remote_address(r->scratch),
		.data = remote_address(r->data),
		.data_bytes = r->data_bytes,
		.disposable = true,
	};
	stop_site(r, &r->root->threads[0].site);
	rc = make_root(r);
	if (rc)
		return rc;
	rc = drop_memory(&r->root->threads[0]);
	if (rc)
		return rc;
	return grow(r->root);
}

static void kill_task(struct rebuild_task *t)
{
	bool any = false;

	for (size_t i = 0; i < t->n_threads; i++)
		any |= t->threads[i].exists;
	if (!any || t->reaped)
		return;
	kill(t->pid, SIGKILL);
}

void spawn_abandon(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		kill_task(r->tasks[i]);
	/* As the tracer we are told of each thread's end, the leader's last. */
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *t = r->tasks[i];

		for (size_t k = t->n_threads; k-- > 0;) {
			if (!t->threads[k].exists)
				continue;
			if (!stop_reap(t->threads[k].tid))
				warn("task %d thread %d: has been killed and waits inside the "
				     "kernel (state D in ps); it ends when it is through",
				     t->pid, t->threads[k].tid);
			t->threads[k].exists = false;
		}
	}
}
