/* FS base (thread-local storage) and GS base of two threads, robust list, clear-tid address, rseq.
 */
#include "target.h"

#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread int local;
static atomic_int go;
static uint64_t words[2] = { 0x1234567890abcdef, 0xfedcba0987654321 };

struct bases {
	uint64_t fs, gs, robust;
	size_t robust_len;
};

static struct bases get(void)
{
	struct bases b = { 0 };

	CHECK(!syscall(SYS_arch_prctl, ARCH_GET_FS, &b.fs));
	CHECK(!syscall(SYS_arch_prctl, ARCH_GET_GS, &b.gs));
	CHECK(!syscall(SYS_get_robust_list, 0, &b.robust, &b.robust_len));
	return b;
}

static void same(struct bases before, int which)
{
	struct bases now = get();
	uint64_t through_gs;

	CHECK(now.fs == before.fs && now.gs == before.gs);
	CHECK(now.robust == before.robust && now.robust_len == before.robust_len);
	__asm__ volatile("mov %%gs:0, %0" : "=r"(through_gs));
	CHECK(through_gs == words[which]);
	CHECK(local == 77 + which);
}

static void check_rseq(void)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	cpu_set_t set;

	if (!__rseq_size)
		return;
	/* The kernel keeps cpu_id up to date only of a registered area. */
	for (int cpu = 0; cpu < 2 && cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		CHECK(!sched_setaffinity(0, sizeof(set), &set));
		sched_yield();
		CHECK(*(volatile uint32_t *)&area->cpu_id == (uint32_t)cpu);
	}
}

static void *thread(void *arg)
{
	struct bases before;

	local = 78;
	CHECK(!syscall(SYS_arch_prctl, ARCH_SET_GS, &words[1]));
	before = get();
	go = 1;
	while (go != 2)
		usleep(2000);
	same(before, 1);
	check_rseq();
	return NULL;
}

int main(void)
{
	struct bases before;
	pthread_t id;

	local = 77;
	CHECK(!syscall(SYS_arch_prctl, ARCH_SET_GS, &words[0]));
	CHECK(!pthread_create(&id, NULL, thread, NULL));
	while (!go)
		usleep(1000);
	before = get();

	target_ready();

	same(before, 0);
	go = 2;
	/* Returns only if the kernel clears and wakes the thread's clear-tid address. */
	CHECK(!pthread_join(id, NULL));
	check_rseq();
	target_pass();
}
