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
