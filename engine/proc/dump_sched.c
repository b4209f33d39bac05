#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/procfs.h"

/* As the kernel lays it out; the C library's headers have none. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

#define IOPRIO_WHO_PROCESS 1
#define AFFINITY_BYTES 1024 /* 8192 processors, the most a kernel of x86 is built for */

static int affinity(struct dump_ctx *ctx, pid_t tid, SnapThreadEntry *extra)
{
	long bytes;

	extra->affinity.data = dump_alloc(ctx, AFFINITY_BYTES);
	if (!extra->affinity.data)
		return R_FAILED;
	bytes = syscall(SYS_sched_getaffinity, tid, AFFINITY_BYTES, extra->affinity.data);
	if (bytes < 0) {
		warn_errno("pid %d: sched_getaffinity", tid);
		return R_FAILED;
	}
	extra->has_affinity = true;
	extra->affinity.len = (size_t)bytes;
	return R_OK;
}

int dump_sched(struct dump_ctx *ctx, const struct tracee *th, ThreadCoreEntry *core,
	       SnapThreadEntry *extra)
{
	struct attributes attr = { .size = sizeof(attr) };
	long ioprio;

	if (syscall(SYS_sched_getattr, th->tid, &attr, sizeof(attr), 0) < 0) {
		warn_errno("pid %d: sched_getattr", th->tid);
		return R_FAILED;
	}
	core->has_sched_nice = true;
	/* sched_getattr does not tell it of a real-time thread, which has one all the same. */
	core->sched_nice = getpriority(PRIO_PROCESS, (id_t)th->tid);
	core->has_sched_policy = true;
	core->sched_policy = attr.policy;
	core->has_sched_prio = true;
	core->sched_prio = attr.priority;
	extra->has_sched_flags = true;
	extra->sched_flags = attr.flags;
	extra->has_sched_runtime = true;
	extra->sched_runtime = attr.runtime;
	extra->has_sched_deadline = true;
	extra->sched_deadline = attr.deadline;
	extra->has_sched_period = true;
	extra->sched_period = attr.period;
	ioprio = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, th->tid);
	if (ioprio >= 0) {
		extra->has_ioprio = true;
		extra->ioprio = (uint32_t)ioprio;
	}
	return affinity(ctx, th->tid, extra);
}
