/* A child that has ended as another user and was not waited for: its parent is told whose it was.
 */
#include "target.h"

#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	uid_t nobody = geteuid() ? geteuid() : 65534;
	siginfo_t info;
	pid_t other;

	target_init();
	other = fork();
	if (!other)
		_exit(setuid(nobody) ? 1 : 0);
	CHECK(!waitid(P_PID, other, &info, WEXITED | WNOWAIT));
	CHECK(info.si_uid == nobody && info.si_code == CLD_EXITED && info.si_status == 0);
	usleep(20000);

	target_ready();

	CHECK(!waitid(P_PID, other, &info, WEXITED));
	if (info.si_uid != nobody)
		target_fail("user %u of the child of user %u", info.si_uid, nobody);
	target_pass();
}
