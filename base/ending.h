/*
 * Ending this process from a signal handler, but not in the middle of something.
 *
 * Where a target would notice if snap ended just there, snap says so, and whoever wants to end it
 * waits for the few instructions until it may.  (Nobody can make SIGKILL wait.)
 */
#ifndef SNAP_BASE_ENDING_H
#define SNAP_BASE_ENDING_H

#include <stdbool.h>

/* Between these ending_ask() does not end this process.  Pairs, which may be nested. ending_allow()
 * does not return if it was asked meanwhile. */
void ending_hold(void);
void ending_allow(void);

/* Ends this process with exit code `code`: now, or as soon as that is allowed, and then returns.
 * May be called in a signal handler, in any thread. */
void ending_ask(int code);
/* Has it been asked, which means that it is held off just now?  What is under way should come to an
 * end, and undo what would stay behind. */
bool ending_asked(void);

#endif
