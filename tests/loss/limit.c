/*
 * loss_limit SECONDS COMMAND [ARGUMENT...]
 *
 * Runs a command that may take no longer than so, as timeout(1) does, but without counting time in
 * which the machine, or all that is tested, is halted (child.h).  Ends as the command did, a signal
 * counting as 128 and its number.
 */
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 2 ? (unsigned int)atoi(argv[1]) : 0;
	int status;
	pid_t pid;

	if (seconds == 0) {
		fprintf(stderr, "usage: loss_limit SECONDS COMMAND [ARGUMENT...]\n");
		return 2;
	}
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (pid < 0) {
		perror("fork");
		return 2;
	}
	status = child_wait(pid, seconds);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
