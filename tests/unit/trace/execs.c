/*
 * `execs PARENT` executes itself over and over, each time in another of its threads, and counts
 * that in the number shared as descriptor 3.  Every third time it is the main thread's turn.  Ends
 * when its parent is not PARENT any more.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define BYSTANDERS 4

static char *parent;

static void again(void)
{
	execl("/proc/self/exe", "execs", parent, (char *)NULL);
	_exit(3);
}

static void *bystander(void *arg)
{
	for (;;)
		if (arg)
			sched_yield();
		else
			pause();
	return arg;
}

static void *executor(void *arg)
{
	again();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	parent = argv[1];
	if (argc != 2 || getppid() != atoi(parent))
		return 1;
	_Atomic uint32_t *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	if (count == MAP_FAILED)
		return 2;
	uint32_t turn = atomic_fetch_add(count, 1);
	for (int i = 0; i < BYSTANDERS; i++)
		if (pthread_create(&thread, NULL, bystander, i == 2 ? count : NULL))
			return 4;
	if (turn % 3 == 0)
		again();
	if (pthread_create(&thread, NULL, executor, NULL))
		return 5;
	/* And some more, which are not there yet when the others are listed. */
	for (int i = 0; i < BYSTANDERS; i++)
		pthread_create(&thread, NULL, bystander, NULL);
	for (;;)
		pause();
}
