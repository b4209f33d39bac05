#include "engine/proc/trace_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define TICK_NS 2000000L
#define TICK_SIGNAL (SIGRTMAX - 1)

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct {
	int nesting;
	timer_t timer;
	struct sigaction action_before;
	sigset_t mask_before;
	/* Looked at by the handler, which runs in the very thread that sets it. */
	struct tracee *volatile reapable;
} ticks;

static void on_tick(int signal)
{
	int saved = errno;
	(void)signal;
	trace_reap_before(ticks.reapable);
	errno = saved;
}

int trace_ticks_begin(void)
{
	if (ticks.nesting++)
		return R_OK;
	/* No SA_RESTART: the waits are to end. */
	struct sigaction action = { .sa_handler = on_tick };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL };
	struct itimerspec every = { { .tv_nsec = TICK_NS }, { .tv_nsec = TICK_NS } };
	sigset_t tick;
	event.sigev_notify_thread_id = gettid();
	sigemptyset(&action.sa_mask);
	sigemptyset(&tick);
	sigaddset(&tick, TICK_SIGNAL);
	if (timer_create(CLOCK_MONOTONIC, &event, &ticks.timer))
		goto err0;
	if (sigaction(TICK_SIGNAL, &action, &ticks.action_before))
		goto err1;
	pthread_sigmask(SIG_UNBLOCK, &tick, &ticks.mask_before);
	if (timer_settime(ticks.timer, 0, &every, NULL))
		goto err2;
	return R_OK;
err2:
	pthread_sigmask(SIG_SETMASK, &ticks.mask_before, NULL);
	sigaction(TICK_SIGNAL, &ticks.action_before, NULL);
err1:
	timer_delete(ticks.timer);
err0:
	ticks.nesting = 0;
	warn_errno("cannot set a timer to bound the wait for a target's threads");
	return R_FAILED;
}

void trace_ticks_end(void)
{
	if (--ticks.nesting)
		return;
	/* A signal already on its way is handled before this call returns: it is for this thread,
	 * which does not block it. */
	timer_delete(ticks.timer);
	pthread_sigmask(SIG_SETMASK, &ticks.mask_before, NULL);
	sigaction(TICK_SIGNAL, &ticks.action_before, NULL);
}

void trace_ticks_reap(struct tracee *last)
{
	ticks.reapable = last;
}
