/*
 * Names that a restore gives for the moment, and what one that was killed left under them.
 *
 * ".snap-PID-START-SPACE-FILE-N": who made it (number, time of start, pid namespace) and, as a
 * hash, what for.  What bears the name of a process that is gone is either half of new contents or
 * what the file was before; it stays until a restore has put the same file back.
 */
#ifndef SNAP_ENGINE_FILES_BACK_LEFT_H
#define SNAP_ENGINE_FILES_BACK_LEFT_H

#include <stdbool.h>
#include <stddef.h>

#define BACK_NAME_BYTES 96

/* A new name beside the file `target`, which has no slash in it; `serial` makes it different. */
void back_left_name(const char *target, unsigned int serial, char name[BACK_NAME_BYTES]);

/* Is it such a name, of whatever process? */
bool back_left_is_name(const char *name);
/* Is it one that this process has made? */
bool back_left_is_mine(const char *name);
/* Is it one for `target` by a process that is known to be gone?  One of another pid namespace is
 * not known to be. */
bool back_left_is_dead(const char *name, const char *target);

/* Removes what bears such a name for `target` in the open folder `dir`.  How many there were. */
size_t back_left_remove(int dir, const char *target);

#endif
