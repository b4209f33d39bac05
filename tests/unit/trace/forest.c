/*
 * A tree of processes: `forest DEPTH WIDTH` makes WIDTH children, each of which does the same one
 * level less deep, besides one that ended and is not waited for.  With depth 0 it waits.  `forest
 * storm` starts short-lived children and threads as fast as it can.  Ends when its parent does.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg)
{
	return arg;
}

static int storm(void)
{
	for (;;) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, nothing, NULL))
			return 3;
		pid_t child = fork();
		if (child == 0)
			_exit(fork() == 0 ? 0 : 7);
		int status;
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != 7)
			return 4;
		if (pthread_join(thread, NULL))
			return 5;
	}
}

static int grow(int depth, int width)
{
	int children = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (depth > 0 && fork() == 0)
		_exit(10 + depth);
	while (depth > 0 && children < width) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			depth--;
			children = 0;
			if (depth > 0 && fork() == 0)
				_exit(10 + depth);
		} else {
			children++;
		}
	}
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 2 && strcmp(argv[1], "storm") == 0)
		return storm();
	return argc == 3 ? grow(atoi(argv[1]), atoi(argv[2])) : 2;
}
