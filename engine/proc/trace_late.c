/* Threads that do not stop when they are told to: what they wait for. */
#include "engine/proc/trace_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"

/* Of a thread that sleeps: the number and the arguments of its system call. */
static bool call_of(const struct tracee *t, long *nr, uint64_t args[6])
{
	char path[80];
	char *text;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", t->pid, t->tid);
	if (io_read_file(AT_FDCWD, path, 4096, &text, &len) != R_OK)
		return false;
	int n =
	    sscanf(text, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
		   nr, &args[0], &args[1], &args[2], &args[3], &args[4], &args[5]);
	free(text);
	return n == 7;
}

/* The youngest child that lives in the memory of the thread: 0 if none is found. */
static pid_t child_in_memory_of(const struct tracee *t)
{
	pid_t *pids, found = 0;
	size_t count;
	if (proc_children(t->pid, t->tid, &pids, &count) != R_OK)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (syscall(SYS_kcmp, t->pid, pids[i], KCMP_VM, 0, 0) == 0)
			found = pids[i];
	free(pids);
	return found;
}

enum trace_hindrance trace_hindrance(struct tracee *t)
{
	struct proc_stat stat;
	uint64_t args[6];
	long nr;
	t->vfork_child = 0;
	t->hindrance = HINDRANCE_NONE;
	if (proc_stat_read(t->pid, t->tid, &stat) != R_OK || stat.state != 'D')
		return HINDRANCE_NONE;
	t->hindrance = HINDRANCE_SLEEP;
	if (!call_of(t, &nr, args) || !arch_call_is_vfork(t->pid, nr, args))
		return HINDRANCE_SLEEP;
	t->hindrance = HINDRANCE_VFORK;
	t->vfork_child = child_in_memory_of(t);
	return HINDRANCE_VFORK;
}

void trace_warn_late(const struct tracee *t)
{
	switch ((enum trace_hindrance)t->hindrance) {
	case HINDRANCE_VFORK:
		warn("thread %d of process %d is waiting in vfork for child %d, which uses its "
		     "memory until it executes a program or ends; try again then",
		     t->tid, t->pid, t->vfork_child);
		break;
	case HINDRANCE_SLEEP:
		warn("thread %d of process %d does not stop: it waits inside the kernel (state D "
		     "in ps); try again when it is through",
		     t->tid, t->pid);
		break;
	case HINDRANCE_NONE:
		warn("thread %d of process %d does not stop: it gets no processor; try again when "
		     "there is less to do",
		     t->tid, t->pid);
	}
}
