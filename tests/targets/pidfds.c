/* pidfds: of itself, of a child, of a child that is dead and gone (twice, by different
 * descriptions), of a zombie; watched by poll. */
#include "target.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int pidfd_open_(pid_t pid, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static pid_t sleeper(void)
{
	pid_t child = fork();

	if (!child) {
		for (;;)
			pause();
	}
	return child;
}

int main(void)
{
	pid_t living = sleeper(), dead = sleeper(), zombie = fork();
	int self, child, gone, gone_too, rotten;
	siginfo_t info;
	int status;

	if (!zombie)
		_exit(5);
	self = pidfd_open_(getpid(), 0);
	NEED(self >= 0);
	child = pidfd_open_(living, O_NONBLOCK);
	gone = pidfd_open_(dead, 0);
	gone_too = pidfd_open_(dead, 0);
	rotten = pidfd_open_(zombie, 0);
	CHECK(child >= 0 && gone >= 0 && gone_too >= 0 && rotten >= 0);
	CHECK(!kill(dead, SIGKILL) && waitpid(dead, &status, 0) == dead);
	CHECK(!waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));

	target_ready();

	CHECK(!syscall(SYS_pidfd_send_signal, self, 0, NULL, 0) && !ended(self));
	CHECK(!ended(child) && (fcntl(child, F_GETFL) & O_NONBLOCK));
	CHECK(ended(gone) && ended(gone_too) && ended(rotten));
	CHECK(syscall(SYS_pidfd_send_signal, gone, 0, NULL, 0) < 0);
	CHECK(fcntl(gone, F_GETFD) == FD_CLOEXEC);
	CHECK(!syscall(SYS_pidfd_send_signal, child, SIGTERM, NULL, 0));
	CHECK(waitpid(living, &status, 0) == living && WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGTERM && ended(child));
	CHECK(waitpid(zombie, &status, 0) == zombie && WEXITSTATUS(status) == 5);
	target_pass();
}
