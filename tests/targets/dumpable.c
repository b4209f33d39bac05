/* Whether a process may be dumped: by its own wish not, and as a change of identity has left it. */
#include "target.h"

#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
	int changed, go[2];
	pid_t child;
	char byte;

	CHECK(!pipe(go));
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		/* what the system has for such processes: fs.suid_dumpable */
		setfsuid(1234);
		changed = prctl(PR_GET_DUMPABLE);
		setfsuid(0);
		CHECK(changed != 1);
		CHECK(read(go[0], &byte, 1) == 1);
		CHECK(prctl(PR_GET_DUMPABLE) == changed);
		_exit(0);
	}
	CHECK(!prctl(PR_SET_DUMPABLE, 0));

	target_ready();

	CHECK(prctl(PR_GET_DUMPABLE) == 0);
	CHECK(write(go[1], "g", 1) == 1);
	expect_child_ok(child);
	target_pass();
}
