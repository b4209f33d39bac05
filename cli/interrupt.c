#include "cli/interrupt.h"

#include "cli/exit_codes.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile sig_atomic_t at_once;
static volatile sig_atomic_t heir; /* pid that gets the signals */

static void on_signal(int number)
{
	int saved = errno;

	if (heir) {
		kill(heir, number);
		errno = saved;
		return;
	}
	if (at_once || came)
		_exit(EXIT_SIGNAL + number);
	came = number;
}

void interrupt_install(enum command_kind kind)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal };
	size_t i;

	at_once = kind != COMMAND_ENGINE && kind != COMMAND_REBUILDS;
	sigfillset(&action.sa_mask);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct sigaction old;

		/* nohup and a shell's background jobs ask for signals to stay ignored. */
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(numbers[i], &action, NULL);
	}
	/* ^Z would leave a target frozen for as long as snap sleeps. */
	if (!at_once)
		signal(SIGTSTP, SIG_IGN);
}

int interrupt_signal(void)
{
	return came;
}

void interrupt_pass_on(pid_t pid)
{
	heir = pid;
}
