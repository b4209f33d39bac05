/* Do we have the rights that the tasks need?  Asked before anything is ended for their sake. */
#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/warn.h"
#include "engine/proc/stat.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

/* What a new task begins with: ours. */
static int read_own(struct rebuild_rights *own)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t held;
	int n;

	if (!caps) {
		warn_errno("cannot read our own capabilities");
		return R_FAILED;
	}
	for (cap_value_t cap = 0; cap < 64; cap++)
		if (cap_get_flag(caps, cap, CAP_EFFECTIVE, &held) == 0 && held == CAP_SET)
			own->held |= 1ull << cap;
	cap_free(caps);
	for (int cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			own->bounding |= 1ull << cap;
	n = getgroups(0, NULL);
	own->groups = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(*own->groups));
	n = own->groups ? getgroups(n, own->groups) : -1;
	if (n < 0 || getresuid(&own->uid[0], &own->uid[1], &own->uid[2]) != 0 ||
	    getresgid(&own->gid[0], &own->gid[1], &own->gid[2]) != 0) {
		warn_errno("cannot read our own user and groups");
		return R_FAILED;
	}
	own->n_groups = (size_t)n;
	own->securebits = (uint32_t)prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	return R_OK;
}

static bool same_users(const struct rebuild_rights *own, const CredsEntry *c)
{
	return c->uid == own->uid[0] && c->euid == own->uid[1] && c->suid == own->uid[2] &&
	       c->fsuid == own->uid[1];
}

/* The kernel keeps them in order. */
static bool same_groups(const struct rebuild_rights *own, const CredsEntry *c)
{
	if (c->gid != own->gid[0] || c->egid != own->gid[1] || c->sgid != own->gid[2] ||
	    c->fsgid != own->gid[1] || c->n_groups != own->n_groups)
		return false;
	return !own->n_groups || memcmp(c->groups, own->groups, own->n_groups * sizeof(gid_t)) == 0;
}

bool rights_same_ids(const struct rebuild_thread *th, const CredsEntry *c)
{
	const struct rebuild_rights *own = &th->task->r->rights;
	const MmEntry *mm = th->task->mm;

	/* For root only to read: comes of a change of identity alone (creds.c). */
	if (mm && mm->has_dumpable && mm->dumpable == 2)
		return false;
	return same_users(own, c) && same_groups(own, c);
}

static int lacks(const struct rebuild_rights *own, cap_value_t cap)
{
	return !(own->held >> cap & 1);
}

static int check_thread(const struct rebuild_thread *th)
{
	const struct rebuild_rights *own = &th->task->r->rights;
	const CredsEntry *c = th->core->thread_core ? th->core->thread_core->creds : NULL;
	const char *what = NULL, *right = NULL;

	if (!c)
		return R_OK;
	if (lacks(own, CAP_SETUID) && !same_users(own, c)) {
		what = "belongs to another user";
		right = "CAP_SETUID";
	} else if (lacks(own, CAP_SETGID) && !same_groups(own, c)) {
		what = "has other groups";
		right = "CAP_SETGID";
	} else if (lacks(own, CAP_SETPCAP) && th->task->mm &&
		   (c->secbits != own->securebits || !rights_same_ids(th, c) ||
		    own->bounding & ~creds_bounding(c))) {
		what = "has other secure bits, another bounding set, or another identity";
		right = "CAP_SETPCAP";
	}
	if (!what)
		return R_OK;
	warn("task %d thread %d: %s than snap has here, which takes %s; restore as root, nothing "
	     "was changed",
	     th->task->pid, th->tid, what, right);
	return R_UNSUPPORTED;
}

/* Tells of what new tasks get of us, cannot shed, and one of these had not. */
static void tell_kept(struct rebuild *r)
{
	bool no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0;
	bool mdwe = prctl(PR_GET_MDWE, 0, 0, 0, 0) > 0;

	for (size_t i = 0; i < r->n_tasks; i++) {
		const struct rebuild_task *t = r->tasks[i];
		const CoreEntry *core = t->threads[0].core;

		if (!t->mm || !core->thread_core)
			continue;
		if (no_new_privs && core->thread_core->creds &&
		    !core->thread_core->creds->no_new_privs) {
			warn("task %d: will have no_new_privs, as snap has it here; restore "
			     "without (NoNewPrivileges= of a service) to have it as it was",
			     t->pid);
			no_new_privs = false;
		}
		if (mdwe && t->extra && !t->extra->mdwe) {
			warn("task %d: will be denied memory both writable and executable, as snap "
			     "is here (PR_SET_MDWE); restore without to have it as it was",
			     t->pid);
			mdwe = false;
		}
	}
}

int rights_check(struct rebuild *r)
{
	struct proc_status status;
	int rc = read_own(&r->rights);

	if (rc != R_OK)
		return rc;
	if (lacks(&r->rights, CAP_CHECKPOINT_RESTORE) && lacks(&r->rights, CAP_SYS_ADMIN)) {
		warn("a restore chooses the numbers of its processes, which takes "
		     "CAP_CHECKPOINT_RESTORE; restore as root, nothing was changed");
		return R_UNSUPPORTED;
	}
	if (r->seccomp && lacks(&r->rights, CAP_SYS_ADMIN)) {
		warn("task %d: its tree has seccomp filters, which only CAP_SYS_ADMIN suspends "
		     "while it is rebuilt; restore as root, nothing was changed",
		     r->root->pid);
		return R_UNSUPPORTED;
	}
	/* Every new task has our filters, which are only ever suspended for a tracer without any.
	 */
	if (proc_status_read(getpid(), 0, &status) == R_OK && status.seccomp) {
		warn("snap itself runs under a seccomp filter here, and so no process can be "
		     "rebuilt; run it without (SystemCallFilter= of a service, the profile of a "
		     "container), nothing was changed");
		return R_UNSUPPORTED;
	}
	/* Neither is a program with file capabilities traced without that right, nor a child of it;
	 * and nobody with fewer capabilities may trace it all the same. */
	if (lacks(&r->rights, CAP_SYS_PTRACE) && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) {
		warn_errno("our own processes cannot be traced");
		rc = R_FAILED;
	}
	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++)
		for (size_t k = 0; rc == R_OK && k < r->tasks[i]->n_threads; k++)
			if (r->tasks[i]->kind != TASK_HELPER)
				rc = check_thread(&r->tasks[i]->threads[k]);
	if (rc == R_OK)
		tell_kept(r);
	return rc;
}
