/* A child in a mount namespace of its own. */
// names: namespace
#include "target.h"

#include <sched.h>
#include <unistd.h>

int main(void)
{
	int ready[2], go[2];
	char byte;
	pid_t child;

	CHECK(!pipe(ready) && !pipe(go));
	child = fork();
	if (!child) {
		byte = unshare(CLONE_NEWNS) ? 'n' : 'y';
		CHECK(write(ready[1], &byte, 1) == 1);
		CHECK(read(go[0], &byte, 1) == 1);
		_exit(0);
	}
	NEED(read(ready[0], &byte, 1) == 1 && byte == 'y');
	target_ready();
	CHECK(write(go[1], "x", 1) == 1);
	expect_child_ok(child);
	target_pass();
}
