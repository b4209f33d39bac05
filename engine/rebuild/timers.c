#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/warn.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#endif

/* Without that prctl, how many timers are made and thrown away to reach a number. */
#define TIMER_ID_REACH 100000

#define SECOND_NS 1000000000ll
/* A processor that is busy may need a while to do settime, wait and all in between two ticks. */
#define COUNT_TRIES 500
#define COUNT_TRIES_IN_PHASE 3

struct timer_args {
	struct sigevent event;
	int32_t id;
	struct itimerspec value;
	struct itimerval interval_value;
};

static int create_one(struct rebuild_thread *th, const PosixTimerEntry *entry, int64_t *ret)
{
	struct timer_args *args = (struct timer_args *)th->task->r->data;

	memset(&args->event, 0, sizeof(args->event));
	args->event.sigev_value.sival_ptr = (void *)(uintptr_t)entry->sival_ptr;
	args->event.sigev_signo = (int)entry->si_signo;
	args->event.sigev_notify = (int)entry->it_sigev_notify;
	if (entry->has_notify_thread_id)
		args->event._sigev_un._tid = entry->notify_thread_id;
	args->id = (int32_t)entry->it_id;
	return remote_try(th, ret, SYS_timer_create, entry->clock_id, remote_address(&args->event),
			  remote_address(&args->id), 0, 0, 0);
}

static int make_one(struct rebuild_thread *th, const PosixTimerEntry *entry)
{
	struct timer_args *args = (struct timer_args *)th->task->r->data;
	int64_t ret;
	int rc;

	for (int tries = 0; tries < TIMER_ID_REACH; tries++) {
		rc = create_one(th, entry, &ret);
		if (rc)
			return rc;
		if (ret < 0) {
			errno = (int)-ret;
			warn_errno("task %d: timer %u", th->task->pid, entry->it_id);
			return R_FAILED;
		}
		if (args->id == (int32_t)entry->it_id)
			return R_OK;
		if (args->id > (int32_t)entry->it_id)
			break;
		rc = remote_must(th, "timer_delete", SYS_timer_delete, (uint64_t)args->id, 0, 0, 0,
				 0, 0);
		if (rc)
			return rc;
	}
	warn("task %d: timer %u cannot be given its number", th->task->pid, entry->it_id);
	return R_FAILED;
}

int timers_make(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const TaskTimersEntry *timers = th->core->tc->timers;
	int64_t by_number;
	int rc;

	if (!timers || !timers->n_posix)
		return R_OK;
	rc = remote_try(th, &by_number, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
			PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0, 0);
	for (size_t i = 0; rc == R_OK && i < timers->n_posix; i++)
		rc = make_one(th, timers->posix[i]);
	if (rc == R_OK && by_number == 0)
		rc = remote_must(th, "prctl(PR_TIMER_CREATE_RESTORE_IDS)", SYS_prctl,
				 PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0,
				 0, 0);
	return rc;
}

/* Can the clock be told a time in the past, and do we have the same one? */
static bool is_wall_clock(uint32_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
	       clock == CLOCK_TAI;
}

static struct rebuild_thread *notified(struct rebuild_task *t, const PosixTimerEntry *p)
{
	for (size_t i = 0; p->has_notify_thread_id && i < t->n_threads; i++)
		if (t->threads[i].tid == (pid_t)p->notify_thread_id)
			return &t->threads[i];
	return &t->threads[0];
}

enum counted { NOT_COUNTED, COUNTED, COUNTED_WRONG };

/* Arms it so that it should have expired `overrun` + 1 times by now, and takes the one signal.  The
 * next tick is due in `left` nanoseconds. */
static int arm_in_the_past(struct rebuild_task *t, const PosixTimerEntry *p, int64_t left,
			   enum counted *counted)
{
	struct timer_args *args = (struct timer_args *)t->r->data;
	struct {
		uint64_t set;
		struct timespec limit;
		siginfo_t info;
	} *wait = (void *)(args + 1);
	int64_t interval = (int64_t)p->isec * SECOND_NS + (int64_t)p->insec, first, ret;
	struct timespec now;
	int rc;

	*counted = NOT_COUNTED;
	if (!interval || !is_wall_clock(p->clock_id) || clock_gettime((clockid_t)p->clock_id, &now))
		return R_OK;
	if ((int64_t)p->overrun >= INT64_MAX / interval / 2)
		return R_OK;
	first = (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec + left -
		((int64_t)p->overrun + 1) * interval;
	if (first <= 0)
		return R_OK;
	args->value = (struct itimerspec){
		.it_interval = { (time_t)p->isec, (long)p->insec },
		.it_value = { first / SECOND_NS, first % SECOND_NS },
	};
	rc = remote_must(&t->threads[0], "timer_settime", SYS_timer_settime, p->it_id,
			 TIMER_ABSTIME, remote_address(&args->value), 0, 0, 0);
	if (rc)
		return rc;
	wait->set = 1ull << (p->si_signo - 1);
	wait->limit = (struct timespec){ 1, 0 };
	rc = remote_try(notified(t, p), &ret, SYS_rt_sigtimedwait, remote_address(&wait->set),
			remote_address(&wait->info), remote_address(&wait->limit), sizeof(uint64_t),
			0, 0);
	if (rc || ret != (int64_t)p->si_signo)
		return rc;
	rc = remote_try(&t->threads[0], &ret, SYS_timer_getoverrun, p->it_id, 0, 0, 0, 0, 0);
	*counted = ret == (int64_t)p->overrun ? COUNTED : COUNTED_WRONG;
	return rc;
}

/* It may have ticked once more meanwhile, so it is tried again; when what was left to the next tick
 * proves too short, with a whole interval of time, which costs the phase. */
static int count_one(struct rebuild_task *t, const PosixTimerEntry *p, enum counted *counted)
{
	int64_t interval = (int64_t)p->isec * SECOND_NS + (int64_t)p->insec;
	int64_t left = (int64_t)p->vsec * SECOND_NS + (int64_t)p->vnsec;
	int rc = R_OK;

	*counted = COUNTED_WRONG;
	for (int tries = 0; rc == R_OK && *counted == COUNTED_WRONG && tries < COUNT_TRIES; tries++)
		rc = arm_in_the_past(t, p, tries < COUNT_TRIES_IN_PHASE ? left : interval, counted);
	return rc;
}

int timers_count(struct rebuild_task *t)
{
	const TaskTimersEntry *timers = t->threads[0].core->tc->timers;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && timers && i < timers->n_posix; i++) {
		PosixTimerEntry *p = timers->posix[i];
		enum counted counted;

		if (!p->overrun || (!p->vsec && !p->vnsec) || p->it_sigev_notify == SIGEV_NONE ||
		    p->si_signo < 1 || p->si_signo > 64)
			continue;
		rc = count_one(t, p, &counted);
		if (rc == R_OK && counted != COUNTED)
			note("task %d: timer %u had overrun %u times, which it will not tell any "
			     "more",
			     t->pid, p->it_id, p->overrun);
		/* It runs: timers_arm() leaves it alone. */
		if (rc == R_OK && counted == COUNTED)
			p->vsec = p->vnsec = 0;
	}
	return rc;
}

static int arm_interval(struct rebuild_thread *th, int which, const ItimerEntry *entry)
{
	struct timer_args *args = (struct timer_args *)th->task->r->data;

	if (!entry || (!entry->vsec && !entry->vusec && !entry->isec && !entry->iusec))
		return R_OK;
	args->interval_value = (struct itimerval){
		.it_interval = { (time_t)entry->isec, (suseconds_t)entry->iusec },
		.it_value = { (time_t)entry->vsec, (suseconds_t)entry->vusec },
	};
	/* One whose signal is still pending is wound up again only as that is taken. */
	if (!entry->vsec && !entry->vusec)
		args->interval_value.it_value = args->interval_value.it_interval;
	return remote_must(th, "setitimer", SYS_setitimer, (uint64_t)which,
			   remote_address(&args->interval_value), 0, 0, 0, 0);
}

int timers_arm(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const TaskTimersEntry *timers = th->core->tc->timers;
	struct timer_args *args = (struct timer_args *)t->r->data;
	int rc;

	if (!timers)
		return R_OK;
	rc = arm_interval(th, ITIMER_REAL, timers->real);
	if (rc == R_OK)
		rc = arm_interval(th, ITIMER_VIRTUAL, timers->virt);
	if (rc == R_OK)
		rc = arm_interval(th, ITIMER_PROF, timers->prof);
	for (size_t i = 0; rc == R_OK && i < timers->n_posix; i++) {
		const PosixTimerEntry *p = timers->posix[i];

		if (!p->vsec && !p->vnsec)
			continue;
		args->value = (struct itimerspec){
			.it_interval = { (time_t)p->isec, (long)p->insec },
			.it_value = { (time_t)p->vsec, (long)p->vnsec },
		};
		rc = remote_must(th, "timer_settime", SYS_timer_settime, p->it_id, 0,
				 remote_address(&args->value), 0, 0, 0);
	}
	return rc;
}
