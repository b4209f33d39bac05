/*
 * Numbered fault points.  With SNAP_FAULT=N in the environment the process kills itself with
 * SIGKILL at the Nth point it passes: just before each write, fsync, rename, unlink, punched hole
 * and index commit that matters to durability.  Tests walk N until the program gets through.
 */
#ifndef SNAP_BASE_FAULT_H
#define SNAP_BASE_FAULT_H

/* Passes one point.  `what` names it for a reader of the source.  Any thread. */
void fault_point(const char *what);

#endif
