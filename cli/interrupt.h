/* SIGINT, SIGTERM and SIGHUP: work that can be undone is asked to stop, other work just ends. */
#ifndef SNAP_CLI_INTERRUPT_H
#define SNAP_CLI_INTERRUPT_H

#include "cli/options.h"

/*
 * From here on the first of these signals makes interrupt_signal() true for commands that look into
 * or make processes or wait for a peer, which then undo what they began; a second one ends snap at
 * once.  Those that make processes have their waits interrupted (EINTR) from then on every 50 ms.
 * The others are ended at once: their work survives a loss of power, so it survives this too.
 */
void interrupt_install(enum command_kind kind);

/* From here on these signals wait: the work is done, and its result is told as it is. */
void interrupt_hold(void);

/* The signal that came, or 0. */
int interrupt_signal(void);

/*
 * From here on these signals, and SIGQUIT, SIGUSR1 and SIGUSR2, go to that process instead, as does
 * one that came before; 0: no longer.
 */
void interrupt_pass_on(pid_t pid);

/* From here on SIGINT, SIGTERM and SIGHUP go to that process of our own process group, which the
 * terminal itself tells of ^C; until interrupt_pass_on(0). */
void interrupt_share(pid_t pid);

#endif
