#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/warn.h"

static int join(struct rebuild_task *t)
{
	/* A session leader leads its group already and may not call this. */
	if (t->sid == t->pid)
		return R_OK;
	return remote_must(&t->threads[0], "setpgid", SYS_setpgid, 0, (uint64_t)t->pgid, 0, 0, 0,
			   0);
}

int group_join_all(struct rebuild *r)
{
	/* Leaders first: a group must exist before others join it. */
	for (int leaders = 1; leaders >= 0; leaders--)
		for (size_t i = 0; i < r->n_tasks; i++) {
			struct rebuild_task *t = r->tasks[i];
			int rc;

			if ((t->pgid == t->pid) != leaders)
				continue;
			rc = join(t);
			if (rc)
				return rc;
		}
	return R_OK;
}

/* Kills a helper and lets its parent reap it, so that nothing of it stays. */
static int leave(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	int status;

	if (kill(t->pid, SIGKILL)) {
		warn_errno("helper %d: kill", t->pid);
		return R_FAILED;
	}
	if (stop_wait_end(t, &status) != R_OK)
		return R_FAILED;
	th->exists = false;
	t->reaped = true;
	return remote_must(&t->parent->threads[0], "wait4", SYS_wait4, (uint64_t)t->pid, 0, __WALL,
			   0, 0, 0);
}

int helpers_leave(struct rebuild *r)
{
	/* The last ones first: a helper can be the child of another. */
	for (size_t i = r->n_tasks; i-- > 0;) {
		int rc;

		if (r->tasks[i]->kind != TASK_HELPER || r->tasks[i]->reaped)
			continue;
		rc = leave(r->tasks[i]);
		if (rc)
			return rc;
	}
	return R_OK;
}
