/* Owner and signal of descriptors (F_SETOWN, F_SETSIG, O_ASYNC): they signal afterwards, too. */
#include "target.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile int hits, band_fd;

static void handler(int signal, siginfo_t *info, void *context)
{
	hits++;
	band_fd = info->si_fd;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct f_owner_ex owner = { F_OWNER_PID, 0 }, now;
	int pair[2], ends[2];

	CHECK(!sigaction(SIGRTMIN + 2, &action, NULL));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && !pipe(ends));
	owner.pid = getpid();
	CHECK(!fcntl(pair[0], F_SETOWN_EX, &owner) && !fcntl(pair[0], F_SETSIG, SIGRTMIN + 2));
	CHECK(!fcntl(pair[0], F_SETFL, O_ASYNC));
	CHECK(!fcntl(ends[0], F_SETOWN, -getpgrp()) && !fcntl(ends[0], F_SETSIG, SIGUSR1));

	target_ready();

	CHECK(!fcntl(pair[0], F_GETOWN_EX, &now) && now.type == F_OWNER_PID && now.pid == getpid());
	CHECK(fcntl(pair[0], F_GETSIG) == SIGRTMIN + 2 && (fcntl(pair[0], F_GETFL) & O_ASYNC));
	CHECK(fcntl(ends[0], F_GETOWN) == -getpgrp() && fcntl(ends[0], F_GETSIG) == SIGUSR1);
	CHECK(hits == 0);
	CHECK(write(pair[1], "x", 1) == 1);
	for (int i = 0; i < 1000 && !hits; i++)
		usleep(1000);
	CHECK(hits && band_fd == pair[0]);
	target_pass();
}
