/* Pending signals: of the process and of one thread, with what was sent along, in order; masks. */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_int go;
static const struct timespec none;

static void *thread(void *arg)
{
	siginfo_t info, mine = { 0 };
	sigset_t all;

	mine.si_signo = SIGRTMIN + 4;
	mine.si_code = SI_QUEUE;
	mine.si_value.sival_int = 444;
	CHECK(!syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGRTMIN + 4,
		       &mine));
	CHECK(!pthread_kill(pthread_self(), SIGUSR2));
	go = 1;
	while (go != 2)
		usleep(1000);
	sigfillset(&all);
	sigdelset(&all, SIGRTMIN + 3);
	sigdelset(&all, SIGUSR1);
	CHECK(sigtimedwait(&all, &info, &none) == SIGUSR2 && info.si_code == SI_USER);
	CHECK(sigtimedwait(&all, &info, &none) == SIGRTMIN + 4);
	CHECK(info.si_value.sival_int == 444 && info.si_code == SI_QUEUE);
	CHECK(sigtimedwait(&all, &info, &none) < 0);
	return NULL;
}

int main(void)
{
	union sigval value;
	siginfo_t info;
	sigset_t all, now;
	pthread_t id;

	sigfillset(&all);
	sigdelset(&all, SIGTERM);
	CHECK(!sigprocmask(SIG_SETMASK, &all, NULL));
	for (int i = 0; i < 5; i++) {
		value.sival_ptr = (void *)(0x1122334455667700 + i);
		CHECK(!sigqueue(getpid(), SIGRTMIN + 3, value));
	}
	CHECK(!kill(getpid(), SIGUSR1));
	CHECK(!pthread_create(&id, NULL, thread, NULL));
	while (!go)
		usleep(1000);

	target_ready();

	go = 2;
	CHECK(!pthread_join(id, NULL));
	sigprocmask(SIG_SETMASK, NULL, &now);
	for (int i = 1; i <= SIGRTMAX; i++)
		if (i != SIGTERM && i != SIGKILL && i != SIGSTOP && (i < 32 || i >= SIGRTMIN))
			CHECK(sigismember(&now, i));
	CHECK(!sigismember(&now, SIGTERM));
	CHECK(sigtimedwait(&all, &info, &none) == SIGUSR1);
	CHECK(info.si_code == SI_USER && info.si_pid == getpid());
	for (int i = 0; i < 5; i++) {
		CHECK(sigtimedwait(&all, &info, &none) == SIGRTMIN + 3);
		CHECK(info.si_value.sival_ptr == (void *)(0x1122334455667700 + i));
	}
	CHECK(sigtimedwait(&all, &info, &none) < 0);
	target_pass();
}
