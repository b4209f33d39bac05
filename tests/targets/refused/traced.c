/* A child that its parent traces. */
// names: trace
#include "target.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME);
		raise(SIGSTOP);
		_exit(0);
	}
	NEED(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	target_ready();
	CHECK(!ptrace(PTRACE_CONT, child, 0, 0));
	expect_child_ok(child);
	target_pass();
}
