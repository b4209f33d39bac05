/* Two siblings that share one working directory (clone with CLONE_FS and CLONE_PARENT). */
// names: working directory
#include "target.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static int clone_with(unsigned long flags)
{
	struct clone_args args = { .flags = flags,
				   .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };

	return (int)syscall(SYS_clone3, &args, sizeof(args));
}

int main(void)
{
	int told[2], go[2], first, second, pid;
	char byte;

	CHECK(!pipe(told) && !pipe(go));
	first = clone_with(0);
	CHECK(first >= 0);
	if (!first) {
		pid = clone_with(CLONE_FS | CLONE_PARENT);
		CHECK(pid >= 0);
		if (!pid) {
			pid = getpid();
			CHECK(write(told[1], &pid, sizeof(pid)) == sizeof(pid));
			CHECK(read(go[0], &byte, 1) == 1 && !chdir("/usr"));
			_exit(0);
		}
		CHECK(read(go[0], &byte, 1) == 1);
		_exit(0);
	}
	CHECK(read(told[0], &second, sizeof(second)) == sizeof(second));

	target_ready();

	CHECK(write(go[1], "ab", 2) == 2);
	expect_child_ok(first);
	expect_child_ok(second);
	target_pass();
}
