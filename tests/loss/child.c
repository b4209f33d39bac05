#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#define TICKS_PER_SECOND 10

int child_wait(pid_t pid, unsigned int seconds)
{
	const struct timespec tick = { .tv_nsec = 1000000000 / TICKS_PER_SECOND };
	sigset_t ended;
	pid_t got;
	int status;

	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ended, NULL);
	for (unsigned int i = 0; (got = waitpid(pid, &status, WNOHANG)) != pid;) {
		if (got < 0) {
			perror("waitpid");
			exit(2);
		}
		/* Whatever ended: one that did before counts for nothing. */
		if (sigtimedwait(&ended, NULL, &tick) < 0 && errno == EAGAIN &&
		    ++i == seconds * TICKS_PER_SECOND)
			kill(pid, SIGALRM);
	}
	return status;
}
