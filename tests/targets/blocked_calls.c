/* System calls in progress, one thread in each, go on as if nothing had happened: none of them
 * comes back with EINTR, none before its time. */
#include "target.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fds[2], never[2], pair[2];
static atomic_int words[2];
static pid_t child;

static void *in_read(void *arg)
{
	char byte;

	CHECK(read(fds[0], &byte, 1) == 1 && byte == 'r');
	return NULL;
}

static void *in_recv(void *arg)
{
	char byte;

	CHECK(recv(pair[0], &byte, 1, 0) == 1 && byte == 'R');
	return NULL;
}

static void *in_poll(void *arg)
{
	struct pollfd p = { .fd = pair[1], .events = POLLIN };

	CHECK(poll(&p, 1, 1000000) == 1 && p.revents == POLLIN);
	return NULL;
}

static void *in_select(void *arg)
{
	struct timeval t = { 1000, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pair[1], &set);
	CHECK(select(pair[1] + 1, &set, NULL, NULL, &t) == 1);
	return NULL;
}

static void *in_epoll(void *arg)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(0);

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, pair[1], &e));
	CHECK(epoll_wait(ep, &e, 1, -1) == 1);
	return NULL;
}

static void *in_futex(void *arg)
{
	struct timespec t = { 1000, 0 };
	int which = arg != NULL;

	/* One with a relative limit (restarted by the kernel from a restart block), one without. */
	while (words[which] == 0)
		CHECK(
		    !syscall(SYS_futex, &words[which], FUTEX_WAIT_PRIVATE, 0, which ? &t : NULL) ||
		    errno == EAGAIN);
	return NULL;
}

static void *in_wait(void *arg)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
	return NULL;
}

/* Short enough to end while it is judged, long enough to be met by every take. */
static void *in_sleep(void *arg)
{
	struct timespec t = { 2, 0 }, from, to;

	clock_gettime(CLOCK_REALTIME, &from);
	CHECK(!nanosleep(&t, NULL));
	clock_gettime(CLOCK_REALTIME, &to);
	CHECK(to.tv_sec - from.tv_sec >= 1);
	return NULL;
}

static void *in_poll_limited(void *arg)
{
	struct timespec from, to;
	struct pollfd p = { .fd = never[0], .events = POLLIN };

	clock_gettime(CLOCK_REALTIME, &from);
	CHECK(poll(&p, 1, 2000) == 0);
	clock_gettime(CLOCK_REALTIME, &to);
	CHECK(to.tv_sec - from.tv_sec >= 1);
	return NULL;
}

int main(void)
{
	static void *(*const calls[])(void *) = { in_read,  in_recv, in_poll,  in_select,
						  in_epoll, in_wait, in_sleep, in_poll_limited };
	enum { CALLS = sizeof(calls) / sizeof(calls[0]) };
	pthread_t ids[CALLS + 2];

	CHECK(!pipe(fds) && !pipe(never) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	target_init();
	child = fork();
	if (!child) {
		while (!target_is_judged())
			usleep(5000);
		_exit(3);
	}
	for (int i = 0; i < CALLS; i++)
		CHECK(!pthread_create(&ids[i], NULL, calls[i], NULL));
	CHECK(!pthread_create(&ids[CALLS], NULL, in_futex, NULL));
	CHECK(!pthread_create(&ids[CALLS + 1], NULL, in_futex, &words));
	usleep(30000);

	target_ready();

	CHECK(write(fds[1], "r", 1) == 1 && write(pair[1], "R", 1) == 1);
	CHECK(write(pair[0], "p", 1) == 1);
	words[0] = words[1] = 1;
	CHECK(syscall(SYS_futex, &words[0], FUTEX_WAKE_PRIVATE, 1) == 1);
	CHECK(syscall(SYS_futex, &words[1], FUTEX_WAKE_PRIVATE, 1) == 1);
	for (int i = 0; i < CALLS + 2; i++)
		CHECK(!pthread_join(ids[i], NULL));
	target_pass();
}
