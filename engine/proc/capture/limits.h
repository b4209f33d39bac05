/* What a clone must not run into: it and the pages copied because of it count as the target's. */
#ifndef SNAP_ENGINE_PROC_CAPTURE_LIMITS_H
#define SNAP_ENGINE_PROC_CAPTURE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * True if process `pid` may be cloned, as far as the machine's memory and the limits of its control
 * groups go: should it write to all of `bytes` meanwhile, as much memory again is needed.
 * Otherwise `reason` (of `room` bytes) says what is short.
 */
bool limits_allow_clone(pid_t pid, uint64_t bytes, char *reason, size_t room);

#endif
