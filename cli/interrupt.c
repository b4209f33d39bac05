#include "cli/interrupt.h"

#include "base/ending.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile sig_atomic_t at_once;
static volatile sig_atomic_t heir = -1; /* pidfd of the process that gets the signals */
static volatile sig_atomic_t shared;	/* the terminal itself tells it of ^C */
static volatile sig_atomic_t pokes;	/* waits are interrupted again and again */

/* A signal that comes right before a wait begins does not interrupt it: the next one does. */
#define POKE_US 50000

static void on_poke(int number)
{
	(void)number;
}

static void poke(bool on)
{
	struct itimerval every = { 0 };

	if (on)
		every.it_value.tv_usec = every.it_interval.tv_usec = POKE_US;
	setitimer(ITIMER_REAL, &every, NULL);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	if (heir >= 0) {
		if (!shared || info->si_code != SI_KERNEL)
			syscall(SYS_pidfd_send_signal, (int)heir, number, NULL, 0);
		errno = saved;
		return;
	}
	if (at_once || came) {
		bar_end();
		ending_ask(EXIT_SIGNAL + number);
	}
	came = number;
	if (pokes)
		poke(true);
	errno = saved;
}

/* nohup and a shell's background jobs ask for signals to stay ignored. */
static void catch (int number)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, old;

	sigfillset(&action.sa_mask);
	if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		return;
	sigaction(number, &action, NULL);
}

/* No SA_RESTART: the waits are to end. */
static void allow_pokes(void)
{
	struct sigaction action = { .sa_handler = on_poke };
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	pokes = sigaction(SIGALRM, &action, NULL) == 0;
}

void interrupt_install(enum command_kind kind)
{
	if (kind == COMMAND_REBUILDS)
		allow_pokes();
	at_once = kind != COMMAND_ENGINE && kind != COMMAND_REBUILDS && kind != COMMAND_LISTENS;
	catch (SIGINT);
	catch (SIGTERM);
	catch (SIGHUP);
	/* ^Z would leave a target frozen for as long as snap sleeps. */
	if (!at_once && kind != COMMAND_LISTENS)
		signal(SIGTSTP, SIG_IGN);
}

void interrupt_hold(void)
{
	sigset_t held;

	if (pokes)
		poke(false);
	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGHUP);
	sigprocmask(SIG_BLOCK, &held, NULL);
}

int interrupt_signal(void)
{
	return came;
}

static void hand_over(pid_t pid, bool share)
{
	sigset_t all, before;
	int old = heir;

	if (!pid && heir < 0)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	shared = share;
	heir = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (old >= 0)
		close(old);
	if (pid && came && heir >= 0) {
		syscall(SYS_pidfd_send_signal, (int)heir, (int)came, NULL, 0);
		came = 0;
		if (pokes)
			poke(false);
	}
	if (pid && !share) {
		catch (SIGQUIT);
		catch (SIGUSR1);
		catch (SIGUSR2);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

void interrupt_pass_on(pid_t pid)
{
	hand_over(pid, false);
}

void interrupt_share(pid_t pid)
{
	hand_over(pid, true);
}
