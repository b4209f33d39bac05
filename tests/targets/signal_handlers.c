/* Every signal's action: handler, flags, mask; ignored and default ones. */
#include "target.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile int hits, value;

static void simple(int signal)
{
	hits += signal;
}

static void informed(int signal, siginfo_t *info, void *context)
{
	sigset_t now;

	sigprocmask(SIG_SETMASK, NULL, &now);
	value = sigismember(&now, SIGHUP) ? info->si_value.sival_int : -1;
}

int main(void)
{
	struct sigaction before[65], now, action;
	union sigval v = { .sival_int = 99 };

	memset(&action, 0, sizeof(action));
	action.sa_handler = simple;
	action.sa_flags = SA_RESTART | SA_NODEFER;
	sigaddset(&action.sa_mask, SIGWINCH);
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	action.sa_sigaction = informed;
	action.sa_flags = SA_SIGINFO | SA_RESETHAND;
	sigaddset(&action.sa_mask, SIGHUP);
	CHECK(!sigaction(SIGRTMIN + 7, &action, NULL));
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
	for (int i = 1; i < 65; i++)
		sigaction(i, NULL, &before[i]);

	target_ready();

	for (int i = 1; i < 65; i++) {
		if (i == 32 || i == 33)
			continue;
		CHECK(!sigaction(i, NULL, &now));
		if (now.sa_handler != before[i].sa_handler || now.sa_flags != before[i].sa_flags ||
		    memcmp(&now.sa_mask, &before[i].sa_mask, 8))
			target_fail("signal %d: handler %p flags %x mask %lx instead of %p %x %lx",
				    i, (void *)now.sa_handler, (unsigned int)now.sa_flags,
				    now.sa_mask.__val[0], (void *)before[i].sa_handler,
				    (unsigned int)before[i].sa_flags, before[i].sa_mask.__val[0]);
	}
	raise(SIGUSR1);
	CHECK(hits == SIGUSR1);
	raise(SIGPIPE);
	CHECK(!sigqueue(getpid(), SIGRTMIN + 7, v));
	CHECK(value == 99);
	CHECK(!sigaction(SIGRTMIN + 7, NULL, &now) && now.sa_handler == SIG_DFL);
	target_pass();
}
