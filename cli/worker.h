/* A process of its own for work on living targets, so that killing snap does not stop it half-way.
 */
#ifndef SNAP_CLI_WORKER_H
#define SNAP_CLI_WORKER_H

/*
 * Forks.  In the child returns -1: it is to do the work.  It ends when this process does, even by
 * SIGKILL, but not between ending_hold() and ending_allow().  In this process passes signals on to
 * the child, waits for it and returns its exit code, or EXIT_FAILED, reported.
 */
int worker_begin(void);

#endif
