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

/* Everything one thread is asked, at once: a list of calls, and where their answers go. */
struct asking {
	struct inject_question *list;
	const char **names; /* of those that must succeed, else NULL */
	size_t n;
	uint64_t asked; /* signals whose action is asked for */
	struct action actions[SIGNALS];
	struct itimerval intervals[3];
	struct proc_timer *timers;
	struct itimerspec *timer_values;
	struct inject_question *first_overrun; /* every second from there on */
	size_t n_timers;
	int subreaper, death, tsc;
	struct inject_question *dumpable, *no_thp, *merge, *brk, *membarrier, *mdwe, *ldt, *bits,
	    *slack;
	struct inject_question *policy;
	uint8_t ldt_entries[64];
	stack_t stack;
	uint64_t clear_tid;
	struct {
		uint64_t nodes[NODES_MAX / 64];
		int32_t mode;
	} nodes;
};

#define QUESTIONS_MAX (SIGNALS + 32) /* beside those about timers */

static struct inject_question *ask(struct asking *a, const char *name, long nr, uint64_t a0,
				   uint64_t a1, uint64_t a2)
{
	struct inject_question *q = &a->list[a->n];

	a->names[a->n++] = name;
	*q =
	    (struct inject_question){ .nr = nr, .args = { a0, a1, a2 }, .more_arg = INJECT_NO_ARG };
	return q;
}

/* One whose answer is written to memory. */
static struct inject_question *ask_for(struct asking *a, const char *name, void *out, size_t bytes,
				       int out_arg, long nr, uint64_t a0)
{
	struct inject_question *q = ask(a, name, nr, a0, 0, 0);

	q->out = out;
	q->out_bytes = (uint32_t)bytes;
	q->out_arg = out_arg;
	return q;
}

static void action_entry(const struct action *action, SaEntry *entry)
{
	sa_entry__init(entry);
	entry->sigaction = action->handler;
	entry->flags = action->flags;
	entry->restorer = action->restorer;
	entry->mask = action->mask;
}

/* All signals but SIGKILL and SIGSTOP, in order. */
static int actions(struct dump_ctx *ctx, const struct asking *a, TaskCoreEntry *core)
{
	core->sigactions = dump_alloc(ctx, SIGNALS * sizeof(*core->sigactions));
	if (!core->sigactions)
		return R_FAILED;
	for (int sig = 1; sig <= SIGNALS; sig++) {
		SaEntry *entry;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		entry = dump_alloc(ctx, sizeof(*entry));
		if (!entry)
			return R_FAILED;
		action_entry(&a->actions[sig - 1], entry);
		core->sigactions[core->n_sigactions++] = entry;
	}
	return R_OK;
}

/* Only those with an action are asked for, and SIGCHLD, whose flags mean something even without
 * one. */
static void ask_actions(struct asking *a, const struct dump_task *t)
{
	a->asked = t->sig_caught | t->sig_ignored | 1ull << (SIGCHLD - 1);
	a->asked &= ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1));
	for (int sig = 1; sig <= SIGNALS; sig++)
		if (a->asked >> (sig - 1) & 1)
			ask_for(a, "rt_sigaction", &a->actions[sig - 1], sizeof(a->actions[0]), 2,
				SYS_rt_sigaction, (uint64_t)sig)
			    ->args[3] = ARCH_SIGSET_BYTES;
}

static int interval_timer(struct dump_ctx *ctx, const struct itimerval *value, ItimerEntry **entry)
{
	*entry = dump_alloc(ctx, sizeof(**entry));
	if (!*entry)
		return R_FAILED;
	itimer_entry__init(*entry);
	(*entry)->isec = (uint64_t)value->it_interval.tv_sec;
	(*entry)->iusec = (uint64_t)value->it_interval.tv_usec;
	(*entry)->vsec = (uint64_t)value->it_value.tv_sec;
	(*entry)->vusec = (uint64_t)value->it_value.tv_usec;
	return R_OK;
}

static void posix_timer(const struct proc_timer *timer, const struct itimerspec *value,
			int64_t overrun, PosixTimerEntry *entry)
{
	posix_timer_entry__init(entry);
	entry->it_id = (uint32_t)timer->id;
	entry->clock_id = (uint32_t)timer->clock;
	entry->si_signo = (uint32_t)timer->signo;
	entry->it_sigev_notify = timer->notify;
	entry->sival_ptr = timer->value;
	entry->overrun = (uint32_t)overrun;
	entry->isec = (uint64_t)value->it_interval.tv_sec;
	entry->insec = (uint64_t)value->it_interval.tv_nsec;
	entry->vsec = (uint64_t)value->it_value.tv_sec;
	entry->vnsec = (uint64_t)value->it_value.tv_nsec;
	if (timer->notify & SIGEV_THREAD_ID) {
		entry->has_notify_thread_id = true;
		entry->notify_thread_id = timer->notify_tid;
	}
}

static int read_timers(struct asking *a, pid_t pid)
{
	char *text;
	int rc = procfs_read(pid, 0, "timers", &text, NULL);

	if (rc != R_OK)
		return rc;
	rc = proc_timers_parse(text, &a->timers, &a->n_timers);
	free(text);
	if (rc == R_OK)
		return R_OK;
	warn("pid %d: /proc/%d/timers is not what this version of snap understands", pid, pid);
	return R_FAILED;
}

static void ask_timers(struct asking *a)
{
	ask_for(a, "getitimer", &a->intervals[0], sizeof(a->intervals[0]), 1, SYS_getitimer,
		ITIMER_REAL);
	ask_for(a, "getitimer", &a->intervals[1], sizeof(a->intervals[0]), 1, SYS_getitimer,
		ITIMER_VIRTUAL);
	ask_for(a, "getitimer", &a->intervals[2], sizeof(a->intervals[0]), 1, SYS_getitimer,
		ITIMER_PROF);
	for (size_t i = 0; i < a->n_timers; i++) {
		uint64_t id = (uint64_t)a->timers[i].id;
		struct inject_question *q;

		ask_for(a, "timer_gettime", &a->timer_values[i], sizeof(a->timer_values[0]), 1,
			SYS_timer_gettime, id);
		q = ask(a, "timer_getoverrun", SYS_timer_getoverrun, id, 0, 0);
		if (i == 0)
			a->first_overrun = q;
	}
}

static int timers(struct dump_ctx *ctx, const struct asking *a, TaskCoreEntry *core)
{
	TaskTimersEntry *all = dump_alloc(ctx, sizeof(*all));
	int rc;

	if (!all)
		return R_FAILED;
	task_timers_entry__init(all);
	core->timers = all;
	rc = interval_timer(ctx, &a->intervals[0], &all->real);
	if (rc == R_OK)
		rc = interval_timer(ctx, &a->intervals[1], &all->virt);
	if (rc == R_OK)
		rc = interval_timer(ctx, &a->intervals[2], &all->prof);
	if (rc != R_OK)
		return rc;
	all->posix = dump_alloc(ctx, a->n_timers * sizeof(*all->posix));
	if (!all->posix)
		return R_FAILED;
	for (size_t i = 0; i < a->n_timers; i++) {
		PosixTimerEntry *entry = dump_alloc(ctx, sizeof(*entry));

		if (!entry)
			return R_FAILED;
		posix_timer(&a->timers[i], &a->timer_values[i], a->first_overrun[2 * i].ret, entry);
		all->posix[all->n_posix++] = entry;
	}
	return R_OK;
}

/* What a process has once.  Those without a name may be missing in a kernel, which answers EINVAL.
 */
static void ask_task(struct asking *a, const struct dump_task *t)
{
	ask_actions(a, t);
	ask_timers(a);
	ask_for(a, "prctl(PR_GET_CHILD_SUBREAPER)", &a->subreaper, sizeof(a->subreaper), 1,
		SYS_prctl, PR_GET_CHILD_SUBREAPER);
	a->dumpable = ask(a, "prctl(PR_GET_DUMPABLE)", SYS_prctl, PR_GET_DUMPABLE, 0, 0);
	a->no_thp = ask(a, NULL, SYS_prctl, PR_GET_THP_DISABLE, 0, 0);
	a->merge = ask(a, NULL, SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0);
	a->brk = ask(a, "brk", SYS_brk, 0, 0, 0);
	a->membarrier = ask(a, NULL, SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0);
	a->mdwe = ask(a, NULL, SYS_prctl, PR_GET_MDWE, 0, 0);
	a->ldt = ask_for(a, NULL, a->ldt_entries, sizeof(a->ldt_entries), 1, SYS_modify_ldt, 0);
	a->ldt->args[2] = sizeof(a->ldt_entries);
}

static int answer_task(struct dump_ctx *ctx, struct dump_task *t, const struct asking *a,
		       TaskCoreEntry *core)
{
	int rc = actions(ctx, a, core);

	if (rc == R_OK)
		rc = timers(ctx, a, core);
	if (rc != R_OK)
		return rc;
	core->has_child_subreaper = true;
	core->child_subreaper = a->subreaper != 0;
	t->mm.has_dumpable = true;
	t->mm.dumpable = (int32_t)a->dumpable->ret;
	t->mm.has_thp_disabled = true;
	t->mm.thp_disabled = a->no_thp->ret > 0;
	t->extra.has_memory_merge = a->merge->ret > 0;
	t->extra.memory_merge = a->merge->ret > 0;
	t->mm.mm_brk = (uint64_t)a->brk->ret;
	core->has_membarrier_registration_mask = a->membarrier->ret > 0;
	core->membarrier_registration_mask =
	    a->membarrier->ret > 0 ? (uint32_t)a->membarrier->ret : 0;
	/* Modes nothing here can give back. */
	if (a->mdwe->ret > 0)
		dump_refuse(ctx, t->task->pid, "it denies itself executable memory (PR_SET_MDWE)");
	if (a->ldt->ret > 0)
		dump_refuse(ctx, t->task->pid, "it has a local descriptor table (modify_ldt)");
	return R_OK;
}

static void ask_thread(struct asking *a)
{
	ask_for(a, "sigaltstack", &a->stack, sizeof(a->stack), 1, SYS_sigaltstack, 0);
	ask_for(a, "prctl(PR_GET_TID_ADDRESS)", &a->clear_tid, sizeof(a->clear_tid), 1, SYS_prctl,
		PR_GET_TID_ADDRESS);
	ask_for(a, "prctl(PR_GET_PDEATHSIG)", &a->death, sizeof(a->death), 1, SYS_prctl,
		PR_GET_PDEATHSIG);
	a->bits = ask(a, "prctl(PR_GET_SECUREBITS)", SYS_prctl, PR_GET_SECUREBITS, 0, 0);
	/* Only the thread itself may ask without CAP_SYS_NICE. */
	a->slack = ask(a, "prctl(PR_GET_TIMERSLACK)", SYS_prctl, PR_GET_TIMERSLACK, 0, 0);
	ask_for(a, "prctl(PR_GET_TSC)", &a->tsc, sizeof(a->tsc), 1, SYS_prctl, PR_GET_TSC);
	a->policy = ask_for(a, NULL, &a->nodes, sizeof(a->nodes), 1, SYS_get_mempolicy, 0);
	a->policy->args[2] = NODES_MAX;
	a->policy->more_arg = 0;
	a->policy->more_offset = offsetof(typeof(a->nodes), mode);
}

static int alternate_stack(struct dump_ctx *ctx, const stack_t *stack, ThreadCoreEntry *core)
{
	core->sas = dump_alloc(ctx, sizeof(*core->sas));
	if (!core->sas)
		return R_FAILED;
	thread_sas_entry__init(core->sas);
	core->sas->ss_sp = (uintptr_t)stack->ss_sp;
	core->sas->ss_size = stack->ss_size;
	/* Being on it is said by the stack pointer. */
	core->sas->ss_flags = (uint32_t)stack->ss_flags & ~(uint32_t)SS_ONSTACK;
	return R_OK;
}

/* From which nodes the thread's memory comes.  A kernel without NUMA has no such call. */
static int memory_policy(struct dump_ctx *ctx, pid_t tid, const struct asking *a,
			 SnapThreadEntry *extra)
{
	if (a->policy->ret == -ENOSYS)
		return R_OK;
	if (a->policy->ret < 0) {
		warn("pid %d: cannot read its NUMA memory policy", tid);
		return R_FAILED;
	}
	if (a->nodes.mode == MPOL_DEFAULT)
		return R_OK;
	extra->has_mempolicy = true;
	extra->mempolicy = (uint32_t)a->nodes.mode;
	extra->mempolicy_nodes.data = dump_alloc(ctx, sizeof(a->nodes.nodes));
	if (!extra->mempolicy_nodes.data)
		return R_FAILED;
	extra->has_mempolicy_nodes = true;
	extra->mempolicy_nodes.len = sizeof(a->nodes.nodes);
	memcpy(extra->mempolicy_nodes.data, a->nodes.nodes, sizeof(a->nodes.nodes));
	return R_OK;
}

static int answer_thread(struct dump_ctx *ctx, struct dump_task *t, size_t thread,
			 const struct asking *a)
{
	CoreEntry *core = t->cores[thread];
	int rc = alternate_stack(ctx, &a->stack, core->thread_core);

	if (rc != R_OK)
		return rc;
	t->extras[thread]->has_tsc_mode = true;
	t->extras[thread]->tsc_mode = (uint32_t)a->tsc;
	t->extras[thread]->has_timerslack_ns = true;
	t->extras[thread]->timerslack_ns = (uint64_t)a->slack->ret;
	core->thread_info->clear_tid_addr = a->clear_tid;
	core->thread_core->has_pdeath_sig = a->death != 0;
	core->thread_core->pdeath_sig = (uint32_t)a->death;
	core->thread_core->creds->secbits = (uint32_t)a->bits->ret;
	return memory_policy(ctx, t->task->threads[thread]->tid, a, t->extras[thread]);
}

static int all_succeeded(const struct asking *a, pid_t tid)
{
	for (size_t i = 0; i < a->n; i++) {
		if (!a->names[i] || a->list[i].ret >= 0)
			continue;
		errno = (int)-a->list[i].ret;
		warn_errno("pid %d: %s within the task", tid, a->names[i]);
		return R_FAILED;
	}
	return R_OK;
}

static int prepare(struct dump_ctx *ctx, struct dump_task *t, size_t thread, struct asking **asking)
{
	struct asking *a = dump_alloc(ctx, sizeof(*a));
	size_t most = QUESTIONS_MAX;

	*asking = a;
	if (!a)
		return R_FAILED;
	if (thread == 0) {
		struct proc_timer *list;
		int rc = read_timers(a, t->task->pid);

		if (rc != R_OK)
			return rc;
		list = a->timers;
		a->timers = dump_alloc(ctx, a->n_timers * sizeof(*list));
		if (a->timers && a->n_timers)
			memcpy(a->timers, list, a->n_timers * sizeof(*list));
		free(list);
		a->timer_values = dump_alloc(ctx, a->n_timers * sizeof(*a->timer_values));
		most += 2 * a->n_timers;
		if (!a->timers || !a->timer_values)
			return R_FAILED;
	}
	a->list = dump_alloc(ctx, most * sizeof(*a->list));
	a->names = dump_alloc(ctx, most * sizeof(*a->names));
	if (!a->list || !a->names)
		return R_FAILED;
	if (thread == 0)
		ask_task(a, t);
	ask_thread(a);
	return R_OK;
}

int dump_remote_begin(struct dump_ctx *ctx, struct dump_task *t, size_t thread)
{
	struct tracee *th = t->task->threads[thread];
	struct asking *a;
	int rc = prepare(ctx, t, thread, &a);

	if (rc == R_OK)
		rc = inject_ask_begin(th, &t->site, t->idle_signals[thread], a->list, a->n);
	if (rc == R_OK)
		t->asking = a;
	return rc;
}

int dump_remote_gather(struct dump_task *t, size_t thread)
{
	struct tracee *th = t->task->threads[thread];
	struct asking *a = t->asking;
	int rc = inject_ask_finish(th, &t->site, t->idle_signals[thread], a->list, a->n);

	return rc == R_OK ? inject_leave(th, &t->site) : rc;
}

int dump_remote_end(struct dump_ctx *ctx, struct dump_task *t, size_t thread)
{
	struct tracee *th = t->task->threads[thread];
	struct asking *a = t->asking;
	int rc = inject_end(th, &t->site);

	t->asking = NULL;
	if (rc == R_OK)
		rc = all_succeeded(a, th->tid);
	if (rc == R_OK && thread == 0)
		rc = answer_task(ctx, t, a, t->cores[0]->tc);
	return rc == R_OK ? answer_thread(ctx, t, thread, a) : rc;
}
