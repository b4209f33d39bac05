/* Interval timers of three kinds and POSIX timers: intervals, time left, overruns, and that they
 * fire. */
#include "target.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int alarms, ticks;

static void on_alarm(int signal)
{
	alarms++;
}

static void on_tick(int signal, siginfo_t *info, void *context)
{
	if (info->si_code == SI_TIMER && info->si_value.sival_int == 31)
		ticks++;
}

int main(void)
{
	struct itimerval fast = { { 0, 20000 }, { 0, 20000 } }, slow = { { 7, 0 }, { 5000, 0 } },
			 now;
	struct itimerspec tick = { { 0, 30000000 }, { 0, 30000000 } },
			  far = { { 0, 0 }, { 4000, 0 } }, left;
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	timer_t ticking, none, distant, gone;
	int before;

	CHECK(!sigaction(SIGALRM, &action, NULL));
	action.sa_sigaction = on_tick;
	action.sa_flags |= SA_SIGINFO;
	CHECK(!sigaction(SIGRTMIN, &action, NULL));
	CHECK(!setitimer(ITIMER_REAL, &fast, NULL));
	CHECK(!setitimer(ITIMER_VIRTUAL, &slow, NULL) && !setitimer(ITIMER_PROF, &slow, NULL));
	event.sigev_value.sival_int = 31;
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &gone)); /* ids need not be without gaps */
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &ticking));
	event.sigev_notify = SIGEV_NONE;
	CHECK(!timer_create(CLOCK_REALTIME, &event, &none));
	CHECK(!timer_create(CLOCK_BOOTTIME, &event, &distant));
	CHECK(!timer_delete(gone));
	CHECK(!timer_settime(ticking, 0, &tick, NULL));
	CHECK(!timer_settime(distant, 0, &far, NULL));

	target_ready();

	CHECK(!getitimer(ITIMER_VIRTUAL, &now));
	CHECK(now.it_interval.tv_sec == 7 && now.it_value.tv_sec > 4900 &&
	      now.it_value.tv_sec <= 5000);
	CHECK(!getitimer(ITIMER_PROF, &now) && now.it_interval.tv_sec == 7);
	CHECK(!timer_gettime(none, &left) && !left.it_value.tv_sec && !left.it_value.tv_nsec);
	CHECK(!timer_gettime(distant, &left));
	CHECK(left.it_value.tv_sec > 3900 && left.it_value.tv_sec < 4000);
	CHECK(!timer_gettime(ticking, &left) && left.it_interval.tv_nsec == 30000000);
	before = alarms;
	for (int i = 0; i < 200 && alarms < before + 3; i++)
		usleep(10000);
	CHECK(alarms >= before + 3);
	before = ticks;
	for (int i = 0; i < 200 && ticks < before + 3; i++)
		usleep(10000);
	CHECK(ticks >= before + 3);
	CHECK(timer_delete(gone) < 0 && !timer_delete(ticking) && !timer_delete(none));
	target_pass();
}
