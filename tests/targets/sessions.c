/* Sessions and process groups: children in the root's group, in one of their own, in another
 * child's, in a session of their own. */
#include "target.h"

#include <sys/mman.h>
#include <unistd.h>

#define TASKS 5

static volatile pid_t *table; /* pid, pgid, sid of each */

static void live(int i)
{
	table[3 * i + 1] = getpgrp();
	table[3 * i + 2] = getsid(0);
	table[3 * i] = getpid();
	while (!target_is_judged())
		usleep(5000);
	CHECK(getpid() == table[3 * i]);
	CHECK(getpgrp() == table[3 * i + 1]);
	CHECK(getsid(0) == table[3 * i + 2]);
	_exit(0);
}

int main(void)
{
	pid_t child[TASKS], group, session;

	target_init();
	table = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < TASKS; i++) {
		child[i] = fork();
		if (!child[i]) {
			if (i == 1)
				CHECK(!setpgid(0, 0));
			if (i == 2)
				CHECK(!setpgid(0, table[3]));
			if (i == 3)
				CHECK(setsid() > 0);
			if (i == 4) { /* in the session of a parent that leads another group */
				CHECK(!setpgid(0, 0));
				if (!fork())
					live(5);
			}
			live(i);
		}
		while (!table[3 * i])
			usleep(1000);
	}
	while (!table[15])
		usleep(1000);
	group = getpgrp();
	session = getsid(0);

	target_ready();

	CHECK(getpgrp() == group && getsid(0) == session);
	CHECK(getpgid(child[0]) == group && getsid(child[0]) == session);
	CHECK(getpgid(child[1]) == child[1] && getsid(child[1]) == session);
	CHECK(getpgid(child[2]) == child[1]);
	CHECK(getpgid(child[3]) == child[3] && getsid(child[3]) == child[3]);
	for (int i = 0; i < TASKS; i++)
		expect_child_ok(child[i]);
	target_pass();
}
