/* eventfd (counter, semaphore), timerfd (running, expired, absolute), signalfd, and an epoll set
 * over them with its data, level- and edge-triggered and one-shot; an epoll inside an epoll. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int ep;

static void add(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

/* Waits until the set has reported all that it can, and says which (bit = low byte of the data). */
static unsigned int reported(unsigned int wanted)
{
	struct epoll_event e[16];
	unsigned int seen = 0;

	/* What is always ready ends every wait at once: the pause gives the timer time to tick. */
	for (int round = 0; round < 500 && (seen & wanted) != wanted; round++) {
		int n = epoll_wait(ep, e, 16, 10);

		for (int i = 0; i < n; i++)
			seen |= 1U << (e[i].data.u64 & 0xff);
		for (int i = 0; i < n; i++)
			CHECK((e[i].data.u64 & 0xff) != 1 || e[i].data.u64 >> 32 == 0x10000000);
		usleep(1000);
	}
	return seen & wanted;
}

int main(void)
{
	struct itimerspec fast = { { 0, 20000000 }, { 0, 20000000 } },
			  far = { { 9, 0 }, { 3000, 0 } }, left;
	int counter, sem, ticking, distant, sig, inner, drained;
	struct signalfd_siginfo info;
	struct timespec now;
	sigset_t set;
	uint64_t v;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ep = epoll_create1(EPOLL_CLOEXEC);
	counter = eventfd(5, EFD_NONBLOCK | EFD_CLOEXEC);
	sem = eventfd(3, EFD_SEMAPHORE);
	drained = eventfd(0, EFD_NONBLOCK);
	ticking = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	distant = timerfd_create(CLOCK_REALTIME, 0);
	sig = signalfd(-1, &set, SFD_NONBLOCK);
	inner = epoll_create1(0);
	CHECK(!timerfd_settime(ticking, 0, &fast, NULL));
	clock_gettime(CLOCK_REALTIME, &now);
	far.it_value.tv_sec += now.tv_sec;
	CHECK(!timerfd_settime(distant, TFD_TIMER_ABSTIME, &far, NULL));
	add(counter, EPOLLIN, 0x1000000000000001);
	add(ticking, EPOLLIN | EPOLLET, 2);
	add(sig, EPOLLIN | EPOLLONESHOT, 3);
	add(drained, EPOLLIN, 4);
	add(inner, EPOLLIN, 5);
	{
		struct epoll_event e = { .events = EPOLLIN, .data.u64 = 55 };
		CHECK(!epoll_ctl(inner, EPOLL_CTL_ADD, sem, &e));
	}
	CHECK(!kill(getpid(), SIGUSR1));

	target_ready();

	CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC && fcntl(counter, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(counter, F_GETFL) & O_NONBLOCK);
	CHECK(!(fcntl(sem, F_GETFL) & O_NONBLOCK));
	CHECK(reported(0x2e) == 0x2e);
	CHECK(read(counter, &v, 8) == 8 && v == 5);
	CHECK(read(counter, &v, 8) < 0 && errno == EAGAIN);
	for (int i = 0; i < 3; i++)
		CHECK(read(sem, &v, 8) == 8 && v == 1);
	CHECK(read(ticking, &v, 8) == 8 && v >= 1);
	CHECK(!timerfd_gettime(ticking, &left) && left.it_interval.tv_nsec == 20000000);
	CHECK(!timerfd_gettime(distant, &left));
	CHECK(left.it_value.tv_sec > 2900 && left.it_value.tv_sec <= 3000);
	CHECK(left.it_interval.tv_sec == 9);
	CHECK(read(sig, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1);
	CHECK(info.ssi_pid == (uint32_t)getpid());
	v = 1;
	CHECK(write(drained, &v, 8) == 8 && reported(0x10));
	/* one-shot: it was reported once, and is disarmed now */
	CHECK(!kill(getpid(), SIGUSR1));
	for (int i = 0; i < 3; i++) {
		struct epoll_event e[16];
		int n = epoll_wait(ep, e, 16, 10);

		for (int k = 0; k < n; k++)
			CHECK(e[k].data.u64 != 3);
	}
	target_pass();
}
