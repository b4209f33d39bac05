/* What only a task itself can ask the kernel. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/procfs.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#ifndef MEMBARRIER_GET_REGISTRATIONS
#define MEMBARRIER_GET_REGISTRATIONS (1 << 9)
#endif

#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68
#endif

#define SIGNALS 64
#define NODES_MAX 1024 /* the most a kernel of x86 is built for */

/* The kernel's struct sigaction. */
struct action {
	uint64_t handler, flags, restorer, mask;
};

/* A call that must succeed; `what` for the message. */
static int must(struct tracee *th, struct dump_task *t, const char *what, int64_t *ret, long nr,
		uint64_t a0, uint64_t a1, uint64_t a2)
{
	int rc = inject_syscall(th, &t->site, ret, nr, a0, a1, a2, 0, 0, 0);

	if (rc != R_OK || *ret >= 0)
		return rc;
	errno = (int)-*ret;
	warn_errno("pid %d: %s within the task", th->tid, what);
	return R_FAILED;
}

/* The same, and reads `len` bytes the call has left in the argument area. */
static int must_read(struct tracee *th, struct dump_task *t, const char *what, long nr, uint64_t a0,
		     uint64_t a1, void *buf, size_t len)
{
	int64_t ret;
	int rc = must(th, t, what, &ret, nr, a0, a1, 0);

	if (rc != R_OK)
		return rc;
	if (trace_read(th->pid, t->site.data, buf, len) == R_OK)
		return R_OK;
	warn_errno("pid %d: reading the result of %s", th->tid, what);
	return R_FAILED;
}

static void action_entry(const struct action *action, SaEntry *entry)
{
	sa_entry__init(entry);
	entry->sigaction = action->handler;
	entry->flags = action->flags;
	entry->restorer = action->restorer;
	entry->mask = action->mask;
}

/*
 * All signals but SIGKILL and SIGSTOP, in order.  Only those with an action are asked for, and
 * SIGCHLD, whose flags mean something even without one.
 */
static int actions(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t,
		   TaskCoreEntry *core)
{
	struct action all[SIGNALS] = { 0 };
	struct proc_status status;
	int rc = proc_status_read(th->pid, 0, &status);
	uint64_t ask;

	if (rc != R_OK)
		return rc;
	ask = status.sig_caught | status.sig_ignored | 1ull << (SIGCHLD - 1);
	core->sigactions = dump_alloc(ctx, SIGNALS * sizeof(*core->sigactions));
	if (!core->sigactions)
		return R_FAILED;
	for (int sig = 1; sig <= SIGNALS; sig++) {
		SaEntry *entry;
		int64_t ret;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		if (ask >> (sig - 1) & 1) {
			rc = inject_syscall(th, &t->site, &ret, SYS_rt_sigaction, (uint64_t)sig, 0,
					    t->site.data, ARCH_SIGSET_BYTES, 0, 0);
			if (rc != R_OK)
				return rc;
			if (ret < 0 || trace_read(th->pid, t->site.data, &all[sig - 1],
						  sizeof(all[0])) != R_OK) {
				warn("pid %d: cannot read its action for signal %d", th->pid, sig);
				return R_FAILED;
			}
		}
		entry = dump_alloc(ctx, sizeof(*entry));
		if (!entry)
			return R_FAILED;
		action_entry(&all[sig - 1], entry);
		core->sigactions[core->n_sigactions++] = entry;
	}
	return R_OK;
}

static int interval_timer(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t, int which,
			  ItimerEntry **entry)
{
	struct itimerval value;
	int rc = must_read(th, t, "getitimer", SYS_getitimer, (uint64_t)which, t->site.data, &value,
			   sizeof(value));

	if (rc != R_OK)
		return rc;
	*entry = dump_alloc(ctx, sizeof(**entry));
	if (!*entry)
		return R_FAILED;
	itimer_entry__init(*entry);
	(*entry)->isec = (uint64_t)value.it_interval.tv_sec;
	(*entry)->iusec = (uint64_t)value.it_interval.tv_usec;
	(*entry)->vsec = (uint64_t)value.it_value.tv_sec;
	(*entry)->vusec = (uint64_t)value.it_value.tv_usec;
	return R_OK;
}

static int posix_timer(struct tracee *th, struct dump_task *t, const struct proc_timer *timer,
		       PosixTimerEntry *entry)
{
	struct itimerspec value;
	int64_t overrun;
	int rc = must_read(th, t, "timer_gettime", SYS_timer_gettime, (uint64_t)timer->id,
			   t->site.data, &value, sizeof(value));

	if (rc == R_OK)
		rc = must(th, t, "timer_getoverrun", &overrun, SYS_timer_getoverrun,
			  (uint64_t)timer->id, 0, 0);
	if (rc != R_OK)
		return rc;
	posix_timer_entry__init(entry);
	entry->it_id = (uint32_t)timer->id;
	entry->clock_id = (uint32_t)timer->clock;
	entry->si_signo = (uint32_t)timer->signo;
	entry->it_sigev_notify = timer->notify;
	entry->sival_ptr = timer->value;
	entry->overrun = (uint32_t)overrun;
	entry->isec = (uint64_t)value.it_interval.tv_sec;
	entry->insec = (uint64_t)value.it_interval.tv_nsec;
	entry->vsec = (uint64_t)value.it_value.tv_sec;
	entry->vnsec = (uint64_t)value.it_value.tv_nsec;
	if (timer->notify & SIGEV_THREAD_ID) {
		entry->has_notify_thread_id = true;
		entry->notify_thread_id = timer->notify_tid;
	}
	return R_OK;
}

static int posix_timers(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t,
			TaskTimersEntry *timers)
{
	struct proc_timer *list = NULL;
	size_t n = 0;
	char *text;
	int rc = procfs_read(th->pid, 0, "timers", &text, NULL);

	if (rc != R_OK)
		return rc;
	rc = proc_timers_parse(text, &list, &n);
	free(text);
	if (rc != R_OK) {
		warn("pid %d: /proc/%d/timers is not what this version of snap understands",
		     th->pid, th->pid);
		return R_FAILED;
	}
	timers->posix = dump_alloc(ctx, n * sizeof(*timers->posix));
	rc = timers->posix ? R_OK : R_FAILED;
	for (size_t i = 0; rc == R_OK && i < n; i++) {
		PosixTimerEntry *entry = dump_alloc(ctx, sizeof(*entry));

		rc = entry ? posix_timer(th, t, &list[i], entry) : R_FAILED;
		if (rc == R_OK)
			timers->posix[timers->n_posix++] = entry;
	}
	free(list);
	return rc;
}

static int timers(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t, TaskCoreEntry *core)
{
	TaskTimersEntry *all = dump_alloc(ctx, sizeof(*all));
	int rc;

	if (!all)
		return R_FAILED;
	task_timers_entry__init(all);
	core->timers = all;
	rc = interval_timer(ctx, th, t, ITIMER_REAL, &all->real);
	if (rc == R_OK)
		rc = interval_timer(ctx, th, t, ITIMER_VIRTUAL, &all->virt);
	if (rc == R_OK)
		rc = interval_timer(ctx, th, t, ITIMER_PROF, &all->prof);
	return rc == R_OK ? posix_timers(ctx, th, t, all) : rc;
}

/* Modes nothing here can give back are refused; a kernel without them answers EINVAL. */
static int modes(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t)
{
	int64_t ret;
	int rc;

	rc = inject_syscall(th, &t->site, &ret, SYS_prctl, PR_GET_MDWE, 0, 0, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	if (ret > 0)
		dump_refuse(ctx, th->pid, "it denies itself executable memory (PR_SET_MDWE)");
	rc = inject_syscall(th, &t->site, &ret, SYS_modify_ldt, 0, t->site.data, 64, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	if (ret > 0)
		dump_refuse(ctx, th->pid, "it has a local descriptor table (modify_ldt)");
	return R_OK;
}

int dump_remote_task(struct dump_ctx *ctx, struct dump_task *t, TaskCoreEntry *core)
{
	struct tracee *th = t->task->threads[0];
	int subreaper, rc;
	int64_t ret;

	rc = actions(ctx, th, t, core);
	if (rc == R_OK)
		rc = timers(ctx, th, t, core);
	if (rc == R_OK)
		rc = must_read(th, t, "prctl(PR_GET_CHILD_SUBREAPER)", SYS_prctl,
			       PR_GET_CHILD_SUBREAPER, t->site.data, &subreaper, sizeof(subreaper));
	if (rc != R_OK)
		return rc;
	core->has_child_subreaper = true;
	core->child_subreaper = subreaper != 0;
	rc = must(th, t, "prctl(PR_GET_DUMPABLE)", &ret, SYS_prctl, PR_GET_DUMPABLE, 0, 0);
	if (rc != R_OK)
		return rc;
	t->mm.has_dumpable = true;
	t->mm.dumpable = (int32_t)ret;
	rc = inject_syscall(th, &t->site, &ret, SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	t->mm.has_thp_disabled = true;
	t->mm.thp_disabled = ret > 0;
	rc = inject_syscall(th, &t->site, &ret, SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	t->extra.has_memory_merge = ret > 0;
	t->extra.memory_merge = ret > 0;
	rc = must(th, t, "brk", &ret, SYS_brk, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	t->mm.mm_brk = (uint64_t)ret;
	rc = inject_syscall(th, &t->site, &ret, SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0,
			    0, 0, 0);
	if (rc != R_OK)
		return rc;
	core->has_membarrier_registration_mask = ret > 0;
	core->membarrier_registration_mask = ret > 0 ? (uint32_t)ret : 0;
	return modes(ctx, th, t);
}

static int alternate_stack(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t,
			   ThreadCoreEntry *core)
{
	stack_t stack;
	int rc = must_read(th, t, "sigaltstack", SYS_sigaltstack, 0, t->site.data, &stack,
			   sizeof(stack));

	if (rc != R_OK)
		return rc;
	core->sas = dump_alloc(ctx, sizeof(*core->sas));
	if (!core->sas)
		return R_FAILED;
	thread_sas_entry__init(core->sas);
	core->sas->ss_sp = (uintptr_t)stack.ss_sp;
	core->sas->ss_size = stack.ss_size;
	/* Being on it is said by the stack pointer. */
	core->sas->ss_flags = (uint32_t)stack.ss_flags & ~(uint32_t)SS_ONSTACK;
	return R_OK;
}

/* From which nodes the thread's memory comes.  A kernel without NUMA has no such call. */
static int memory_policy(struct dump_ctx *ctx, struct tracee *th, struct dump_task *t,
			 SnapThreadEntry *extra)
{
	struct {
		uint64_t nodes[NODES_MAX / 64];
		int32_t mode;
	} policy;
	int64_t ret;
	int rc = inject_syscall(th, &t->site, &ret, SYS_get_mempolicy,
				t->site.data + offsetof(typeof(policy), mode), t->site.data,
				NODES_MAX, 0, 0, 0);

	if (rc != R_OK || ret == -ENOSYS)
		return rc;
	if (ret < 0 || trace_read(th->pid, t->site.data, &policy, sizeof(policy)) != R_OK) {
		warn("pid %d: cannot read its NUMA memory policy", th->tid);
		return R_FAILED;
	}
	if (policy.mode == MPOL_DEFAULT)
		return R_OK;
	extra->has_mempolicy = true;
	extra->mempolicy = (uint32_t)policy.mode;
	extra->mempolicy_nodes.data = dump_alloc(ctx, sizeof(policy.nodes));
	if (!extra->mempolicy_nodes.data)
		return R_FAILED;
	extra->has_mempolicy_nodes = true;
	extra->mempolicy_nodes.len = sizeof(policy.nodes);
	memcpy(extra->mempolicy_nodes.data, policy.nodes, sizeof(policy.nodes));
	return R_OK;
}

int dump_remote_thread(struct dump_ctx *ctx, struct dump_task *t, size_t thread)
{
	struct tracee *th = t->task->threads[thread];
	CoreEntry *core = t->cores[thread];
	uint64_t clear_tid;
	int64_t bits;
	int death, tsc, rc;

	rc = alternate_stack(ctx, th, t, core->thread_core);
	if (rc == R_OK)
		rc = must_read(th, t, "prctl(PR_GET_TID_ADDRESS)", SYS_prctl, PR_GET_TID_ADDRESS,
			       t->site.data, &clear_tid, sizeof(clear_tid));
	if (rc == R_OK)
		rc = must_read(th, t, "prctl(PR_GET_PDEATHSIG)", SYS_prctl, PR_GET_PDEATHSIG,
			       t->site.data, &death, sizeof(death));
	if (rc == R_OK)
		rc = must(th, t, "prctl(PR_GET_SECUREBITS)", &bits, SYS_prctl, PR_GET_SECUREBITS, 0,
			  0);
	if (rc != R_OK)
		return rc;
	rc = must_read(th, t, "prctl(PR_GET_TSC)", SYS_prctl, PR_GET_TSC, t->site.data, &tsc,
		       sizeof(tsc));
	if (rc != R_OK)
		return rc;
	t->extras[thread]->has_tsc_mode = true;
	t->extras[thread]->tsc_mode = (uint32_t)tsc;
	core->thread_info->clear_tid_addr = clear_tid;
	core->thread_core->has_pdeath_sig = death != 0;
	core->thread_core->pdeath_sig = (uint32_t)death;
	core->thread_core->creds->secbits = (uint32_t)bits;
	return memory_policy(ctx, th, t, t->extras[thread]);
}
