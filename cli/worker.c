#include "cli/worker.h"

#include "base/ending.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARENT_DIED SIGUSR1

static void on_parent_died(int number)
{
	(void)number;
	ending_ask(EXIT_SIGNAL + SIGKILL);
}

static void follow(pid_t parent)
{
	struct sigaction action = { .sa_handler = on_parent_died };
	sigset_t usual;

	sigfillset(&action.sa_mask);
	sigaction(PARENT_DIED, &action, NULL);
	sigemptyset(&usual);
	sigaddset(&usual, PARENT_DIED);
	sigprocmask(SIG_UNBLOCK, &usual, NULL);
	prctl(PR_SET_PDEATHSIG, PARENT_DIED);
	if (getppid() != parent)
		_exit(EXIT_SIGNAL + SIGKILL);
}

int worker_begin(void)
{
	pid_t self = getpid(), pid = fork(), got;
	int status;

	if (pid < 0) {
		warn_errno("cannot start a process");
		return EXIT_FAILED;
	}
	if (pid == 0) {
		follow(self);
		return -1;
	}
	interrupt_share(pid);
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	interrupt_pass_on(0);
	if (got == pid && WIFEXITED(status))
		return WEXITSTATUS(status);
	if (got == pid && WIFSIGNALED(status))
		warn("the process that worked for this one was ended by signal %d (%s)",
		     WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		warn_errno("cannot wait for process %d", pid);
	return EXIT_FAILED;
}
