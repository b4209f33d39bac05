#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/warn.h"
#include "engine/proc/trace_internal.h"

/* The kernel's own codes for calls to be restarted, which no program sees. */
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

static void registers_of(const CoreEntry *core, struct arch_regs *regs)
{
	const UserX86RegsEntry *g = core->thread_info->gpregs;

	regs->user = (struct user_regs_struct){
		.r15 = g->r15,
		.r14 = g->r14,
		.r13 = g->r13,
		.r12 = g->r12,
		.rbp = g->bp,
		.rbx = g->bx,
		.r11 = g->r11,
		.r10 = g->r10,
		.r9 = g->r9,
		.r8 = g->r8,
		.rax = g->ax,
		.rcx = g->cx,
		.rdx = g->dx,
		.rsi = g->si,
		.rdi = g->di,
		.orig_rax = g->orig_ax,
		.rip = g->ip,
		.cs = g->cs,
		.eflags = g->flags,
		.rsp = g->sp,
		.ss = g->ss,
		.fs_base = g->fs_base,
		.gs_base = g->gs_base,
		.ds = g->ds,
		.es = g->es,
		.fs = g->fs,
		.gs = g->gs,
	};
	/* The kernel's note of how to go on with an interrupted wait died with the old thread.  The
	 * call is done over in full, or ends with EINTR if a handler runs first, as it would have.
	 */
	if ((int64_t)g->orig_ax >= 0 && (int64_t)g->ax == -ERESTART_RESTARTBLOCK)
		regs->user.rax = (unsigned long long)-(int64_t)ERESTARTNOHAND;
}

static int lost(const struct rebuild_thread *th)
{
	warn("task %d thread %d: ended before it could be started", th->task->pid, th->tid);
	return R_FAILED;
}

/* Parked inside the kernel's signal handling, where what it does to interrupted calls is still to
 * come; from here nothing but these registers leads back to user space. */
static int load_registers(struct rebuild_thread *th)
{
	struct tracee *t = &th->tracee;
	int rc = trace_park(t, false);

	if (rc == R_NOT_FOUND)
		return lost(th);
	if (rc)
		return rc;
	t->xstate.bytes = (uint32_t)th->xstate_bytes;
	memcpy(t->xstate.data, th->xstate, th->xstate_bytes);
	registers_of(th->core, &t->regs);
	if (arch_xstate_set(t->tid, &t->xstate) || arch_regs_set(t->tid, &t->regs)) {
		warn_errno("task %d thread %d: its registers", th->task->pid, th->tid);
		return R_FAILED;
	}
	return R_OK;
}

static int set_mask(struct rebuild_thread *th, uint64_t mask)
{
	int rc = trace_mask_set(&th->tracee, mask);

	return rc == R_NOT_FOUND ? lost(th) : rc;
}

static uint64_t mask_of(const struct rebuild_thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;

	if (tc->has_blk_sigset)
		return tc->blk_sigset;
	return th->core->tc ? th->core->tc->blk_sigset : 0;
}

static int unmap_scratch(struct rebuild_task *t)
{
	return remote_must(&t->threads[0], "munmap", SYS_munmap, remote_address(t->r->scratch),
			   (uint64_t)(t->r->data - t->r->scratch) + t->r->data_bytes, 0, 0, 0, 0);
}

/* Lets one thread run into the stop by job control that has been ordered. */
static int run_into_stop(struct rebuild_thread *th)
{
	enum trace_stop stop;
	int signal = 0, rc;

	do {
		rc = trace_resume(&th->tracee, PTRACE_CONT, signal);
		if (rc == R_OK)
			rc = trace_wait_asking(&th->tracee, &th->site, &stop, &signal);
		if (rc == R_NOT_FOUND)
			return lost(th);
		if (rc)
			return rc;
	} while (!th->tracee.group_stopped);
	return R_OK;
}

/* Has no task of the group a parent that could let it go on: of its session, but not its group?
 * (The root's parent, whoever that is, is of another session.) */
static bool is_orphaned(const struct rebuild_task *t)
{
	for (size_t i = 0; i < t->r->n_tasks; i++) {
		const struct rebuild_task *member = t->r->tasks[i], *parent = member->parent;

		if (member->pgid == t->pgid && member->kind != TASK_ZOMBIE &&
		    member->kind != TASK_HELPER && parent && parent->sid == member->sid &&
		    parent->pgid != member->pgid)
			return false;
	}
	return true;
}

/* Which signal stops it as it was: a group that is orphaned now, as a shell's job is without the
 * shell, is only ever stopped by SIGSTOP; at any other it would run on. */
static int stop_signal_of(const struct rebuild_task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;

	return tc->has_stop_signo && tc->stop_signo && !is_orphaned(t) ? (int)tc->stop_signo
								       : SIGSTOP;
}

/* The first thread takes the signal and orders the stop, the others find it ordered. */
static int stop_task(struct rebuild_task *t)
{
	int sig = stop_signal_of(t);

	if (kill(t->pid, sig)) {
		warn_errno("task %d: signal %d to stop it as it was", t->pid, sig);
		return R_FAILED;
	}
	/* The other stop signals can be blocked, and still are. */
	if (sig != SIGSTOP) {
		int rc = set_mask(&t->threads[0], TRACE_ALL_SIGNALS & ~(1ull << (sig - 1)));

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < t->n_threads; i++) {
		int rc = run_into_stop(&t->threads[i]);

		if (rc)
			return rc;
	}
	return R_OK;
}

static int prepare(struct rebuild_task *t)
{
	int rc;

	rc = signals_pending(t);
	if (rc == R_OK)
		rc = timers_arm(t);
	if (rc == R_OK)
		rc = unmap_scratch(t);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = load_registers(&t->threads[i]);
	if (rc == R_OK && t->kind == TASK_STOPPED)
		rc = stop_task(t);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = set_mask(&t->threads[i], mask_of(&t->threads[i]));
	return rc;
}

int launch_prepare(struct rebuild *r)
{
	/* Children first: what happens to them leaves signals with their parents, which are emptied
	 * out after. */
	for (size_t i = r->n_tasks; i-- > 0;) {
		struct rebuild_task *t = r->tasks[i];
		int rc;

		if (t->kind != TASK_ALIVE && t->kind != TASK_STOPPED)
			continue;
		rc = prepare(t);
		if (rc)
			return rc;
	}
	return R_OK;
}

int launch_all(struct rebuild *r)
{
	int worst = R_OK;

	for (size_t i = 0; i < r->n_tasks; i++) {
		/* Its threads meet it on their way out. */
		if (r->tasks[i]->stops_at_once)
			kill(r->tasks[i]->pid, SIGSTOP);
		for (size_t k = 0; k < r->tasks[i]->n_threads; k++) {
			struct rebuild_thread *th = &r->tasks[i]->threads[k];

			if (!th->exists)
				continue;
			th->exists = false;
			/* Killed by one of its own that started a moment before: its own business.
			 */
			if (ptrace(PTRACE_DETACH, th->tid, 0, 0) && errno != ESRCH) {
				warn_errno("task %d thread %d: cannot be started", r->tasks[i]->pid,
					   th->tid);
				worst = R_FAILED;
			}
		}
	}
	return worst;
}
