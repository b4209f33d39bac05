/* System V shared memory. */
// names: SYSV
#include "target.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(void)
{
	int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
	unsigned char *p;

	NEED(id >= 0);
	p = shmat(id, NULL, 0);
	/* It goes away with its last user. */
	NEED(p != (void *)-1 && !shmctl(id, IPC_RMID, NULL));
	pattern_fill(p, 8192, 1);
	target_ready();
	CHECK(pattern_differs(p, 8192, 1) == 8192);
	target_pass();
}
