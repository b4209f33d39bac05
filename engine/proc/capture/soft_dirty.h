/* Soft-dirty bits: the older way of the kernel to note writes. */
#ifndef SNAP_ENGINE_PROC_CAPTURE_SOFT_DIRTY_H
#define SNAP_ENGINE_PROC_CAPTURE_SOFT_DIRTY_H

#include <stdbool.h>
#include <sys/types.h>

/* True if the kernel has them: found out on a page of our own. */
bool soft_dirty_works(void);

/* Clears those of all pages of a process that stands still.  R_OK or R_FAILED with errno set. */
int soft_dirty_clear(pid_t pid);

#endif
