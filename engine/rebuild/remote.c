#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <string.h>

#include "base/warn.h"

int remote_try(struct rebuild_thread *th, int64_t *ret, long nr, uint64_t a0, uint64_t a1,
	       uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	int rc = inject_syscall(&th->tracee, &th->site, ret, nr, a0, a1, a2, a3, a4, a5);

	if (rc == R_NOT_FOUND) {
		th->exists = false;
		warn("task %d thread %d: ended while it was being rebuilt", th->task->pid, th->tid);
		return R_FAILED;
	}
	return rc;
}

int remote_must(struct rebuild_thread *th, const char *what, long nr, uint64_t a0, uint64_t a1,
		uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	int64_t ret;
	int rc = remote_try(th, &ret, nr, a0, a1, a2, a3, a4, a5);

	if (rc)
		return rc;
	if (ret >= 0 || ret < -4095)
		return R_OK;
	errno = (int)-ret;
	warn_errno("task %d thread %d: %s (0x%llx, 0x%llx, 0x%llx)", th->task->pid, th->tid, what,
		   (unsigned long long)a0, (unsigned long long)a1, (unsigned long long)a2);
	return R_FAILED;
}
