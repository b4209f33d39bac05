/* Children that have ended and were not waited for: by exit code, by a signal. */
#include "target.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	struct rlimit none = { 0, 0 };
	siginfo_t info;
	pid_t exited, killed, grandchild_parent;
	int status;

	target_init();
	exited = fork();
	if (!exited)
		_exit(42);
	killed = fork();
	if (!killed) {
		setrlimit(RLIMIT_CORE, &none);
		for (;;)
			pause();
	}
	CHECK(!kill(killed, SIGTERM));
	grandchild_parent = fork();
	if (!grandchild_parent) {
		pid_t child = fork();

		if (!child)
			_exit(7);
		while (!target_is_judged())
			usleep(5000);
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		_exit(0);
	}
	CHECK(!waitid(P_PID, exited, &info, WEXITED | WNOWAIT));
	CHECK(!waitid(P_PID, killed, &info, WEXITED | WNOWAIT));
	usleep(20000);

	target_ready();

	CHECK(waitpid(exited, &status, 0) == exited);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	CHECK(waitpid(killed, &status, 0) == killed);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
		target_fail("status %#x of the child killed by SIGTERM", (unsigned int)status);
	expect_child_ok(grandchild_parent);
	target_pass();
}
