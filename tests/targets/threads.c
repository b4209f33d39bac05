/* 64 threads that wait for one another on futexes: mutex, condition, semaphore, timed wait; names,
 * masks and ids of threads. */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 64

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t up, token;
static int judged, turns[THREADS];

static void *thread(void *arg)
{
	int me = (int)(long)arg;
	pid_t tid = (pid_t)syscall(SYS_gettid);
	char name[16], now[16];
	sigset_t mask, mask_now;
	struct timespec end;

	snprintf(name, sizeof(name), "worker-%d", me);
	prctl(PR_SET_NAME, name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + me % 20);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sem_post(&up);

	if (me % 3 == 0) {
		clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += 3600;
		CHECK(!sem_timedwait(&token, &end));
	} else if (me % 3 == 1) {
		CHECK(!sem_wait(&token));
	}
	pthread_mutex_lock(&mutex);
	while (!judged)
		pthread_cond_wait(&condition, &mutex);
	pthread_mutex_unlock(&mutex);

	CHECK(tid == (pid_t)syscall(SYS_gettid));
	prctl(PR_GET_NAME, now);
	CHECK(!strcmp(name, now));
	pthread_sigmask(SIG_SETMASK, NULL, &mask_now);
	CHECK(sigismember(&mask_now, SIGRTMIN + me % 20) == 1);
	CHECK(sigismember(&mask_now, SIGRTMIN + (me + 1) % 20) == 0);
	turns[me]++;
	return (void *)(long)(me + 1);
}

int main(void)
{
	pthread_t ids[THREADS];
	void *result;

	sem_init(&up, 0, 0);
	sem_init(&token, 0, 0);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&ids[i], NULL, thread, (void *)i));
	for (int i = 0; i < THREADS; i++)
		sem_wait(&up);
	usleep(10000);

	target_ready();

	for (int i = 0; i < THREADS; i++)
		sem_post(&token);
	pthread_mutex_lock(&mutex);
	judged = 1;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
	for (long i = 0; i < THREADS; i++) {
		CHECK(!pthread_join(ids[i], &result));
		CHECK((long)result == i + 1 && turns[i] == 1);
	}
	target_pass();
}
