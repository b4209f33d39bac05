#include "engine/rebuild/rebuild.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/warn.h"
#include "engine/proc/trace_internal.h"

static int die_by_signal(struct rebuild_task *t, int sig)
{
	struct rebuild_thread *th = &t->threads[0];
	int rc;

	/* No second core file. */
	rc = remote_must(th, "prctl(PR_SET_DUMPABLE)", SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
	if (rc)
		return rc;
	rc = trace_mask_set(&th->tracee, 0);
	if (rc == R_NOT_FOUND) {
		warn("task %d: ended before it was to", t->pid);
		return R_FAILED;
	}
	if (rc)
		return rc;
	if (kill(t->pid, sig)) {
		warn_errno("task %d: signal %d to end it as it had ended", t->pid, sig);
		return R_FAILED;
	}
	if (sig != SIGKILL && ptrace(PTRACE_CONT, t->pid, 0, 0)) {
		warn_errno("task %d: cannot let it end", t->pid);
		return R_FAILED;
	}
	return R_OK;
}

static int die(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const TaskCoreEntry *tc = th->core->tc;
	int sig = (int)(tc->exit_code & 0x7f), status = 0, rc;
	int64_t ret;

	/* No second core file, and so nothing that makes the kernel say so. */
	if (WCOREDUMP((int)tc->exit_code))
		note("task %d: had dumped core as it ended, which its parent is not told any more",
		     t->pid);
	strncpy((char *)t->r->data, tc->comm, 16);
	t->r->data[15] = 0;
	rc = remote_must(th, "prctl(PR_SET_NAME)", SYS_prctl, PR_SET_NAME,
			 remote_address(t->r->data), 0, 0, 0, 0);
	if (rc)
		return rc;
	rc = creds_of_zombie(th);
	if (rc)
		return rc;
	if (sig) {
		rc = die_by_signal(t, sig);
		if (rc)
			return rc;
	} else {
		rc = inject_syscall(&th->tracee, &th->site, &ret, SYS_exit_group,
				    (tc->exit_code >> 8) & 0xff, 0, 0, 0, 0, 0);
		if (rc != R_NOT_FOUND)
			return R_FAILED;
	}
	rc = stop_wait_end(t, &status);
	if (rc)
		return rc;
	t->dead = true;
	th->exists = false;
	return R_OK;
}

int zombies_die(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		int rc;

		if (r->tasks[i]->kind != TASK_ZOMBIE)
			continue;
		rc = die(r->tasks[i]);
		if (rc)
			return rc;
	}
	return R_OK;
}
