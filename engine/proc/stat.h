/* /proc/PID/stat, /proc/PID/status and the id lists of /proc/PID, parsed. */
#ifndef SNAP_ENGINE_PROC_STAT_H
#define SNAP_ENGINE_PROC_STAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Command names: 15 characters and the NUL (TASK_COMM_LEN). */
#define PROC_COMM_BYTES 16

struct proc_stat {
	pid_t pid;
	char comm[PROC_COMM_BYTES];
	char state; /* R S D T t Z X I */
	pid_t ppid, pgid, sid;
	int32_t tty_nr; /* controlling terminal, 0 without */
	pid_t tty_pgid; /* its foreground group, -1 without */
	uint64_t flags;
	int64_t priority, nice;
	int64_t threads;
	uint64_t start_time; /* clock ticks after boot: with the pid the identity of a process */
	uint64_t start_code, end_code, start_stack;
	int exit_signal; /* what its end sends to the parent; -1 of a thread */
	uint32_t rt_priority, policy;
	uint64_t start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end;
	int exit_code; /* as wait gives it; of a zombie */
};

#define PROC_GROUPS_MAX 256

struct proc_status {
	char state;
	uint32_t umask;
	pid_t tgid, tracer_pid;
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint32_t groups[PROC_GROUPS_MAX];
	size_t group_count;
	uint32_t levels_of_pid; /* nesting of pid namespaces, 1 in the first */
	uint64_t sig_pending, shared_pending, sig_blocked, sig_ignored, sig_caught;
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
	uint32_t no_new_privs;
	uint32_t seccomp; /* 0 none, 1 strict, 2 filter */
	uint32_t seccomp_filters;
};

/* Parse text of such a file (`len` bytes, a NUL behind).  R_OK, R_DAMAGED if it is not of that form
 * (nothing reported). */
int proc_stat_parse(const char *text, size_t len, struct proc_stat *out);
int proc_status_parse(const char *text, size_t len, struct proc_status *out);

/* Reads that of thread `tid` of process `pid`; tid == 0 for the process itself.  R_OK; R_NOT_FOUND
 * if it is gone; R_FAILED (reported). */
int proc_stat_read(pid_t pid, pid_t tid, struct proc_stat *out);
int proc_status_read(pid_t pid, pid_t tid, struct proc_status *out);

/* Numbers of the threads of `pid`, ascending, or of the children of its thread `tid`.  `*ids` is
 * freed by the caller.  R_OK, R_NOT_FOUND, R_FAILED (reported). */
int proc_threads(pid_t pid, pid_t **ids, size_t *count);
int proc_children(pid_t pid, pid_t tid, pid_t **ids, size_t *count);

#endif
