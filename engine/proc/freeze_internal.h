/* Shared by freeze*.c. */
#ifndef SNAP_ENGINE_PROC_FREEZE_INTERNAL_H
#define SNAP_ENGINE_PROC_FREEZE_INTERNAL_H

#include "engine/proc/freeze.h"

/*
 * Unless they have been listed already, seizes the threads of `task` that are not held yet; sets
 * *news if there were any, or if some no longer are where they were left.  Threads that ended stay
 * in the list, marked as lost, until task_tidy.  R_OK; R_NOT_FOUND if the process, its leader or
 * the list of its threads is not there (dead, or executing another program); R_BUSY for a thread
 * that sleeps uninterruptibly at `give_up_ns` (CLOCK_MONOTONIC): it is then *late, allocated, for
 * the caller; R_UNSUPPORTED; R_FAILED.
 */
int task_hold(struct tree_task *task, uint64_t give_up_ns, struct tracee **late, bool *news);

/* Marks those threads as lost that are not held any more, and reaps what is dead of them.  True if
 * all are held. */
bool task_is_held(struct tree_task *task);

/* Takes the lost threads off the list, once they are reaped. */
void task_tidy(struct tree_task *task);

/* Lets the threads of `task` go, those of a dead one for ever, and empties the list.  R_OK or
 * R_FAILED. */
int task_release(struct tree_task *task);

/* The same for one that was found to be a zombie.  If it died in our hands its parent has not been
 * told yet, and is now. */
int task_disown(struct tree_task *task);

/* Waits until all threads of a killed task are dead and frees the list.  A child of this process
 * is left for it to wait for. */
void task_bury(struct tree_task *task);

#endif
