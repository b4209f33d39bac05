/* Processes of a test that may take no longer than so. */
#ifndef SNAP_TESTS_LOSS_CHILD_H
#define SNAP_TESTS_LOSS_CHILD_H

#include <sys/types.h>

/* Waits for the child; one that takes longer than `seconds` gets SIGALRM.  They are counted in
 * waits of this process, so that where both are halted for a while that does not count.  Gives the
 * status of waitpid(). */
int child_wait(pid_t pid, unsigned int seconds);

#endif
