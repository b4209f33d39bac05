/* Descriptor tables: one shared by two processes, one of a child with other numbers for the same
 * descriptions, numbers high and with gaps; an epoll that knows a file by a number that is closed
 * or belongs to another file by now. */
#include "target.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536];
static int go[2], back[2];

static int sharer(void *arg)
{
	char byte;

	if (read(go[0], &byte, 1) != 1)
		_exit(1);
	close(700); /* in the table of both */
	_exit(dup2(go[0], 701) == 701 ? 0 : 2);
}

static void stranger(int file)
{
	char text[8];

	/* The same descriptions, other numbers. */
	CHECK(dup2(file, 900) == 900 && dup2(back[1], 41) == 41);
	close(file);
	CHECK(read(go[0], text, 1) == 1 && read(900, text, 3) == 3 && !memcmp(text, "abc", 3));
	CHECK(fcntl(file, F_GETFD) < 0 && write(41, "k", 1) == 1);
	_exit(0);
}

static uint64_t one_event(int ep)
{
	struct epoll_event event;

	return epoll_wait(ep, &event, 1, 1000) == 1 ? event.data.u64 : 0;
}

int main(void)
{
	int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600), ep = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int first = eventfd(0, 0), second = eventfd(0, 0), kept, kept_too;
	pid_t shared, other;
	uint64_t one = 1;
	char byte;

	CHECK(write(file, "abcdef", 6) == 6 && !lseek(file, 0, SEEK_SET));
	CHECK(!pipe(go) && !pipe(back) && dup2(file, 700) == 700);
	/* Two files were added under one number; both are still open under others. */
	kept = dup(first);
	event.data.u64 = 11;
	CHECK(dup2(first, 500) == 500 && !epoll_ctl(ep, EPOLL_CTL_ADD, 500, &event));
	kept_too = dup(second);
	event.data.u64 = 22;
	CHECK(dup2(second, 500) == 500 && !epoll_ctl(ep, EPOLL_CTL_ADD, 500, &event));
	close(500);
	other = fork();
	if (!other)
		stranger(file);
	shared = clone(sharer, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	CHECK(shared > 0 && other > 0);

	target_ready();

	CHECK(fcntl(500, F_GETFD) < 0 && fcntl(ep, F_GETFD) == 0);
	CHECK(write(kept, &one, 8) == 8 && one_event(ep) == 11);
	CHECK(write(kept_too, &one, 8) == 8 && one_event(ep) == 22);
	CHECK(read(first, &one, 8) == 8 && one == 1 && read(second, &one, 8) == 8);
	CHECK(fcntl(700, F_GETFD) == 0 && fcntl(701, F_GETFD) < 0);
	CHECK(write(go[1], "xy", 2) == 2);
	expect_child_ok(shared);
	expect_child_ok(other);
	CHECK(fcntl(700, F_GETFD) < 0 && fcntl(701, F_GETFD) >= 0);
	CHECK(read(back[0], &byte, 1) == 1 && byte == 'k');
	CHECK(lseek(file, 0, SEEK_CUR) == 3);
	target_pass();
}
