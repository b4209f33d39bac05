/* Children whose end sends another signal than SIGCHLD, or none. */
#include "target.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int child_with(int signal, int go)
{
	struct clone_args args = { .exit_signal = (unsigned long)signal };
	int pid = (int)syscall(SYS_clone3, &args, sizeof(args));
	char byte;

	CHECK(pid >= 0);
	if (!pid) {
		CHECK(read(go, &byte, 1) == 1);
		_exit(7);
	}
	return pid;
}

int main(void)
{
	int go[2], silent, other, status;
	struct timespec limit = { 5, 0 };
	siginfo_t info;
	sigset_t set;

	CHECK(!pipe(go));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	silent = child_with(0, go[0]);
	other = child_with(SIGUSR2, go[0]);

	target_ready();

	/* waited for by those only who ask for such children */
	CHECK(waitpid(silent, &status, WNOHANG) == -1 && errno == ECHILD);
	CHECK(waitpid(silent, &status, WNOHANG | __WCLONE) == 0);
	CHECK(write(go[1], "ab", 2) == 2);
	CHECK(sigtimedwait(&set, &info, &limit) == SIGUSR2 && info.si_pid == other);
	CHECK(waitpid(other, &status, __WCLONE) == other && WEXITSTATUS(status) == 7);
	CHECK(waitpid(silent, &status, __WCLONE) == silent && WEXITSTATUS(status) == 7);
	limit.tv_sec = 0;
	CHECK(sigtimedwait(&set, &info, &limit) == -1 && errno == EAGAIN);
	target_pass();
}
