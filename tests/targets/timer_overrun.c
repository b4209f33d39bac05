/* How often timers had expired before the signal was taken that told so (timer_getoverrun), of one
 * that signals the process and one that signals a thread; both go on ticking. */
#include "target.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static timer_t make(int clock, int signal, int thread, long interval_ms)
{
	struct sigevent event = { .sigev_notify = thread ? SIGEV_THREAD_ID : SIGEV_SIGNAL,
				  .sigev_signo = signal };
	struct itimerspec every = { { 0, interval_ms * 1000000 }, { 0, interval_ms * 1000000 } };
	timer_t timer;

	if (thread)
		event._sigev_un._tid = (int)syscall(SYS_gettid);
	CHECK(!timer_create(clock, &event, &timer) && !timer_settime(timer, 0, &every, NULL));
	return timer;
}

static int take(int signal, int seconds)
{
	struct timespec limit = { seconds, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	return sigtimedwait(&set, NULL, &limit);
}

int main(void)
{
	int before[2];
	timer_t timers[2];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGUSR1);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	timers[0] = make(CLOCK_MONOTONIC, SIGRTMIN, 0, 5);
	timers[1] = make(CLOCK_REALTIME, SIGUSR1, 1, 11);
	usleep(123000);
	CHECK(take(SIGRTMIN, 5) == SIGRTMIN && take(SIGUSR1, 5) == SIGUSR1);
	for (int i = 0; i < 2; i++) {
		before[i] = timer_getoverrun(timers[i]);
		CHECK(before[i] > 5);
	}

	target_ready();

	for (int i = 0; i < 2; i++)
		if (timer_getoverrun(timers[i]) != before[i])
			target_fail("timer %d: %d instead of %d", i, timer_getoverrun(timers[i]),
				    before[i]);
	CHECK(take(SIGRTMIN, 5) == SIGRTMIN && take(SIGUSR1, 5) == SIGUSR1);
	/* One that was waiting at a take comes back beside what the timer has sent since. */
	while (take(SIGRTMIN, 0) == SIGRTMIN)
		;
	usleep(50000);
	CHECK(take(SIGRTMIN, 5) == SIGRTMIN && timer_getoverrun(timers[0]) > 3);
	target_pass();
}
