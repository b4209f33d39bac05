/* A change of a System V semaphore that the kernel would undo at the end of the task. */
// names: SEM_UNDO
#include "target.h"

#include <sys/ipc.h>
#include <sys/sem.h>

int main(void)
{
	struct sembuf up = { 0, 1, SEM_UNDO };
	int id = semget(IPC_PRIVATE, 1, 0600);

	NEED(id >= 0);
	if (semop(id, &up, 1)) {
		semctl(id, 0, IPC_RMID);
		target_skip("semop: %m");
	}

	target_ready();

	CHECK(semctl(id, 0, GETVAL) == 1);
	CHECK(!semctl(id, 0, IPC_RMID));
	target_pass();
}
