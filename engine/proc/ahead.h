/*
 * Texts of /proc/PID that other threads read while one describes a tree that stands still.  To
 * print them takes the kernel most of the time that describing takes.  Each text is handed out
 * once, to whoever would have read it; what nobody has read yet is left to that one, and so is all
 * that would make the texts take more than some 16 MiB together.
 */
#ifndef SNAP_ENGINE_PROC_AHEAD_H
#define SNAP_ENGINE_PROC_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Of these processes, in the order in which they are going to be described.  Without memory nothing
 * is read ahead. */
void ahead_begin(const pid_t *pids, size_t n);

/* Reads those of process `i`, unless the describing thread has come to it.  By any thread. */
void ahead_read(size_t i);

/* The text of /proc/PID/NAME, if it has been read; freed by the caller.  Only the thread that
 * called ahead_begin() asks; waits for a process that is just being read. */
bool ahead_get(pid_t pid, const char *name, char **text, size_t *len);

/* When nobody reads any more: frees what was not asked for. */
void ahead_end(void);

#endif
