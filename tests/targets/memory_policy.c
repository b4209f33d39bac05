/* The NUMA memory policy of each thread: the main one's and another one's, which differ. */
#include "target.h"

#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int stage;

static void expect(int wanted, unsigned long nodes, const char *who)
{
	unsigned long mask[16] = { 0 };
	int mode = -1;

	CHECK(!syscall(SYS_get_mempolicy, &mode, mask, 1024UL, 0UL, 0UL));
	if (mode != wanted || mask[0] != nodes)
		target_fail("%s: policy %x of nodes %lx instead of %x of %lx", who, mode, mask[0],
			    wanted, nodes);
}

static void *thread(void *arg)
{
	unsigned long one = 1;

	NEED(!syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &one, 64UL));
	stage = 1;
	while (stage != 2)
		usleep(1000);
	expect(MPOL_INTERLEAVE, 1, "thread");
	return NULL;
}

int main(void)
{
	unsigned long one = 1;
	pthread_t other;

	CHECK(!pthread_create(&other, NULL, thread, NULL));
	NEED(!syscall(SYS_set_mempolicy, MPOL_BIND | MPOL_F_STATIC_NODES, &one, 64UL));
	while (stage != 1)
		usleep(1000);

	target_ready();

	expect(MPOL_BIND | MPOL_F_STATIC_NODES, 1, "main thread");
	stage = 2;
	CHECK(!pthread_join(other, NULL));
	target_pass();
}
