/* Rows of an epoll with EPOLLONESHOT that have told their event stay silent until they are armed
 * again; those that have not told it are still armed. */
#include "target.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}

int main(void)
{
	struct epoll_event e, got[8];
	int epoll = epoll_create1(0), told[2], fresh[2], pipes[2], counter, n;
	char byte;

	counter = eventfd(5, 0);
	CHECK(epoll >= 0 && counter >= 0 && !pipe(pipes));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, told) &&
	      !socketpair(AF_UNIX, SOCK_STREAM, 0, fresh));
	CHECK(write(told[1], "x", 1) == 1 && write(pipes[1], "x", 1) == 1);
	add(epoll, told[0], EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, 0x1111222233334444);
	add(epoll, counter, EPOLLIN | EPOLLET | EPOLLONESHOT, 2);
	add(epoll, pipes[0], EPOLLIN | EPOLLONESHOT, 3);
	CHECK(epoll_wait(epoll, got, 8, 1000) == 3 && epoll_wait(epoll, got, 8, 0) == 0);
	add(epoll, fresh[0], EPOLLIN | EPOLLONESHOT, 4);
	/* the other end is gone, which an armed row would tell */
	CHECK(!close(told[1]) && epoll_wait(epoll, got, 8, 0) == 0);

	target_ready();

	n = epoll_wait(epoll, got, 8, 50);
	if (n)
		target_fail("%d events, the first of %lx: %x", n, (long)got[0].data.u64,
			    got[0].events);
	CHECK(write(pipes[1], "y", 1) == 1 && epoll_wait(epoll, got, 8, 0) == 0);
	CHECK(write(fresh[1], "z", 1) == 1 && epoll_wait(epoll, got, 8, 1000) == 1);
	CHECK(got[0].data.u64 == 4 && epoll_wait(epoll, got, 8, 0) == 0);
	/* their data is that of their row, and they can be armed again */
	e = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT,
				  .data.u64 = 0x1111222233334444 };
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_MOD, told[0], &e) && epoll_wait(epoll, got, 8, 0) == 1);
	CHECK(got[0].data.u64 == 0x1111222233334444 && read(told[0], &byte, 1) == 1 && byte == 'x');
	e = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 3 };
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_MOD, pipes[0], &e) && epoll_wait(epoll, got, 8, 0) == 1);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &e) == -1 && errno == EEXIST);
	target_pass();
}
