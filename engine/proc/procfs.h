/*
 * Parsers of further texts of /proc/PID (stat.h has the main ones).  Each takes a NUL-ended text
 * and gives R_OK, or R_DAMAGED (not reported) if it is not what a kernel writes; none looks behind
 * the NUL.
 */
#ifndef SNAP_ENGINE_PROC_PROCFS_H
#define SNAP_ENGINE_PROC_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_LIMITS 16

/* /proc/PID/limits, in the order of the RLIMIT_* numbers; UINT64_MAX is unlimited. */
struct proc_limits {
	uint64_t cur[PROC_LIMITS], max[PROC_LIMITS];
};
int proc_limits_parse(const char *text, struct proc_limits *limits);

/* One timer of /proc/PID/timers. */
struct proc_timer {
	int32_t id;
	int32_t signo;
	uint64_t value;	    /* sigval */
	uint32_t notify;    /* SIGEV_SIGNAL, _NONE, _THREAD; with _THREAD_ID a bit */
	int32_t notify_tid; /* with SIGEV_THREAD_ID */
	int32_t clock;
};

/* Parses all; `*timers` is freed by the caller. */
int proc_timers_parse(const char *text, struct proc_timer **timers, size_t *n);

/* Finds the path of the unified hierarchy ("0::/path") in /proc/PID/cgroup; `*path` is new memory,
 * or NULL if there is no such line. */
int proc_cgroup_parse(const char *text, char **path);

/*
 * Steps through the lines of the other hierarchies ("12:cpu,cpuacct:/path"): gives "cpu,cpuacct"
 * and
 * "/path" as they lie in `*at`, not ended by a NUL, and moves `*at` on.  False at the end.
 */
bool proc_cgroup_next(const char **at, const char **controllers, size_t *controllers_len,
		      const char **path, size_t *path_len);

/*
 * Reads /proc/PID/`name`, or /proc/PID/task/TID/`name` if `tid` is not 0.  R_OK with new memory;
 * R_NOT_FOUND if the task is gone (not reported); R_FAILED (reported).
 */
int procfs_read(pid_t pid, pid_t tid, const char *name, char **text, size_t *len);

#endif
