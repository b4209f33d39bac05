/* What each thread has for itself: name, nice value, affinity, identity, signal mask, alternate
 * stack, timer slack, parent-death signal; and a timer that signals one of them. */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8

struct state {
	char name[16];
	int nice, death, tid;
	unsigned long slack;
	uid_t uid[3];
	sigset_t mask;
	cpu_set_t cpus;
	stack_t stack;
};

static struct state before[THREADS], after[THREADS];
static volatile int ready[THREADS], go, on_stack[THREADS];
static volatile int timer_tid;
static char stacks[THREADS][65536];

static void look(struct state *s)
{
	memset(s, 0, sizeof(*s));
	prctl(PR_GET_NAME, s->name);
	s->tid = (int)syscall(SYS_gettid);
	s->nice = getpriority(PRIO_PROCESS, (id_t)s->tid);
	prctl(PR_GET_PDEATHSIG, &s->death);
	s->slack = (unsigned long)prctl(PR_GET_TIMERSLACK);
	getresuid(&s->uid[0], &s->uid[1], &s->uid[2]);
	pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
	CHECK(!sched_getaffinity(0, sizeof(s->cpus), &s->cpus));
	CHECK(!sigaltstack(NULL, &s->stack));
}

static __thread int self;

static void on_usr1(int signal)
{
	char here;

	on_stack[self] = &here >= stacks[self] && &here < stacks[self] + sizeof(stacks[self]);
}

static void on_timer(int signal)
{
	timer_tid = (int)syscall(SYS_gettid);
}

static void *live(void *arg)
{
	stack_t stack = { .ss_size = sizeof(stacks[0]) };
	char name[16];
	sigset_t mask;
	cpu_set_t one;

	self = (int)(long)arg;
	stack.ss_sp = stacks[self];
	snprintf(name, sizeof(name), "number %d", self);
	prctl(PR_SET_NAME, name);
	CHECK(!setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), self));
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (self % 2)
		CHECK(!sched_setaffinity(0, sizeof(one), &one));
	prctl(PR_SET_TIMERSLACK, 70000 + self);
	CHECK(!sigaltstack(&stack, NULL));
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + 3 + self);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	/* Of this thread alone: the C library would tell the others. */
	if (self == 5)
		CHECK(!syscall(SYS_setresuid, 1234, 1235, 0));
	prctl(PR_SET_PDEATHSIG, SIGRTMIN + self);
	look(&before[self]);
	ready[self] = 1;
	while (!go)
		usleep(1000);
	look(&after[self]);
	raise(SIGUSR1);
	ready[self] = 2;
	while (go != 2)
		usleep(1000);
	return NULL;
}

static void wait_all(int value)
{
	for (int i = 0; i < THREADS; i++)
		while (ready[i] != value)
			usleep(1000);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerspec soon = { .it_value = { 0, 1000000 } };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2 };
	pthread_t threads[THREADS];
	timer_t timer;

	target_init();
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	action.sa_handler = on_timer;
	action.sa_flags = SA_RESTART;
	CHECK(!sigaction(SIGUSR2, &action, NULL));
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, live, (void *)i));
	wait_all(1);
	event._sigev_un._tid = before[3].tid;
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));

	target_ready();

	go = 1;
	wait_all(2);
	for (int i = 0; i < THREADS; i++) {
		if (memcmp(&before[i], &after[i], sizeof(before[i])))
			target_fail("thread %d: name %s, nice %d, death %d, slack %lu, uid %u, "
				    "tid %d",
				    i, after[i].name, after[i].nice, after[i].death, after[i].slack,
				    after[i].uid[0], after[i].tid);
		CHECK(on_stack[i]);
	}
	CHECK(!timer_settime(timer, 0, &soon, NULL));
	for (int i = 0; i < 500 && !timer_tid; i++)
		usleep(10000);
	CHECK(timer_tid == before[3].tid);
	go = 2;
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	target_pass();
}
