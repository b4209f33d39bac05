#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/warn.h"

/* Words of a capability set as the images keep it. */
#define CAP_WORDS 2

static uint64_t cap_set(size_t n, const uint32_t *words)
{
	uint64_t set = 0;

	for (size_t i = 0; i < n && i < CAP_WORDS; i++)
		set |= (uint64_t)words[i] << (32 * i);
	return set;
}

uint64_t creds_bounding(const CredsEntry *c)
{
	return cap_set(c->n_cap_bnd, c->cap_bnd);
}

static int set_ids(struct rebuild_thread *th, const CredsEntry *c)
{
	gid_t *groups = (gid_t *)th->task->r->data;
	const MmEntry *mm = th->task->mm;
	int rc;

	/* Only a change of identity makes it what the system has for such processes (2: readable by
	 * root only), and without one the flag would stay as it is in a new process. */
	if (mm && mm->has_dumpable && mm->dumpable == 2) {
		rc = remote_must(th, "setfsuid", SYS_setfsuid, c->fsuid ^ 1, 0, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	if (c->n_groups * sizeof(*groups) > th->task->r->data_bytes) {
		warn("task %d: too many supplementary groups", th->task->pid);
		return R_DAMAGED;
	}
	if (c->n_groups)
		memcpy(groups, c->groups, c->n_groups * sizeof(*groups));
	rc = remote_must(th, "setgroups", SYS_setgroups, c->n_groups, remote_address(groups), 0, 0,
			 0, 0);
	if (rc)
		return rc;
	rc = remote_must(th, "setresgid", SYS_setresgid, c->gid, c->egid, c->sgid, 0, 0, 0);
	if (rc)
		return rc;
	rc = remote_must(th, "setfsgid", SYS_setfsgid, c->fsgid, 0, 0, 0, 0, 0);
	if (rc)
		return rc;
	rc = remote_must(th, "setresuid", SYS_setresuid, c->uid, c->euid, c->suid, 0, 0, 0);
	if (rc)
		return rc;
	return remote_must(th, "setfsuid", SYS_setfsuid, c->fsuid, 0, 0, 0, 0, 0);
}

int creds_of_zombie(struct rebuild_thread *th)
{
	const CredsEntry *c = th->core->thread_core ? th->core->thread_core->creds : NULL;

	return !c || rights_same_ids(th, c) ? R_OK : set_ids(th, c);
}

static int drop_bounding(struct rebuild_thread *th, uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++) {
		int64_t has;
		int rc;

		if (keep >> cap & 1)
			continue;
		rc = remote_try(th, &has, SYS_prctl, PR_CAPBSET_READ, (uint64_t)cap, 0, 0, 0, 0);
		if (rc)
			return rc;
		if (has < 0)
			break; /* beyond what this kernel knows */
		if (!has)
			continue;
		rc = remote_must(th, "prctl(PR_CAPBSET_DROP)", SYS_prctl, PR_CAPBSET_DROP,
				 (uint64_t)cap, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

static int capset_remote(struct rebuild_thread *th, uint64_t eff, uint64_t prm, uint64_t inh)
{
	struct {
		struct __user_cap_header_struct head;
		struct __user_cap_data_struct data[CAP_WORDS];
	} *arg = (void *)th->task->r->data;

	arg->head = (struct __user_cap_header_struct){ _LINUX_CAPABILITY_VERSION_3, 0 };
	for (int i = 0; i < CAP_WORDS; i++)
		arg->data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(eff >> (32 * i)),
			.permitted = (uint32_t)(prm >> (32 * i)),
			.inheritable = (uint32_t)(inh >> (32 * i)),
		};
	return remote_must(th, "capset", SYS_capset, remote_address(&arg->head),
			   remote_address(arg->data), 0, 0, 0, 0);
}

static int capget_remote(struct rebuild_thread *th, uint64_t *prm)
{
	struct {
		struct __user_cap_header_struct head;
		struct __user_cap_data_struct data[CAP_WORDS];
	} *arg = (void *)th->task->r->data;
	int rc;

	arg->head = (struct __user_cap_header_struct){ _LINUX_CAPABILITY_VERSION_3, 0 };
	rc = remote_must(th, "capget", SYS_capget, remote_address(&arg->head),
			 remote_address(arg->data), 0, 0, 0, 0);
	*prm = arg->data[0].permitted | (uint64_t)arg->data[1].permitted << 32;
	return rc;
}

static int raise_ambient(struct rebuild_thread *th, uint64_t ambient)
{
	for (uint64_t cap = 0; cap < 64; cap++) {
		int rc;

		if (!(ambient >> cap & 1))
			continue;
		rc = remote_must(th, "prctl(PR_CAP_AMBIENT)", SYS_prctl, PR_CAP_AMBIENT,
				 PR_CAP_AMBIENT_RAISE, cap, 0, 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

static int secure_bits(struct rebuild_thread *th, uint64_t bits)
{
	return remote_must(th, "prctl(PR_SET_SECUREBITS)", SYS_prctl, PR_SET_SECUREBITS, bits, 0, 0,
			   0, 0);
}

/*
 * Each step needs rights that a later one takes away: user ids change without touching the
 * capabilities (that is what the secure bit is for), then bounding set, ambient set and secure
 * bits, then the capabilities themselves.
 */
int creds_set(struct rebuild_thread *th)
{
	const CredsEntry *c = th->core->thread_core->creds;
	uint64_t held, prm, inh, ambient;
	bool same;
	int rc;

	if (!c)
		return R_OK;
	/* What is so already is left alone: it may need rights that an ordinary user has not. */
	same = rights_same_ids(th, c);
	prm = cap_set(c->n_cap_prm, c->cap_prm);
	inh = cap_set(c->n_cap_inh, c->cap_inh);
	ambient = cap_set(c->n_cap_amb, c->cap_amb);
	rc = capget_remote(th, &held);
	if (rc)
		return rc;
	if (prm & ~held)
		warn("task %d: gets back fewer capabilities than it had (0x%llx are not ours to "
		     "give); restore with more",
		     th->task->pid, (unsigned long long)(prm & ~held));
	prm &= held;
	if (!same) {
		rc = secure_bits(th, SECBIT_NO_SETUID_FIXUP);
		if (rc == R_OK)
			rc = set_ids(th, c);
	}
	if (rc == R_OK)
		rc = capset_remote(th, held, held, inh);
	if (rc == R_OK)
		rc = drop_bounding(th, creds_bounding(c));
	if (rc == R_OK)
		rc = raise_ambient(th, ambient & prm & inh);
	if (rc == R_OK && !(same && c->secbits == th->task->r->rights.securebits))
		rc = secure_bits(th, c->secbits);
	if (rc == R_OK)
		rc = capset_remote(th, cap_set(c->n_cap_eff, c->cap_eff) & prm, prm, inh);
	if (rc == R_OK && c->no_new_privs)
		rc = remote_must(th, "prctl(PR_SET_NO_NEW_PRIVS)", SYS_prctl, PR_SET_NO_NEW_PRIVS,
				 1, 0, 0, 0, 0);
	return rc;
}

/* 2 is what set_ids() leaves and cannot be asked for. */
static int set_dumpable(struct rebuild_thread *th, int wanted)
{
	int64_t now;
	int rc = remote_try(th, &now, SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0);

	if (rc || now == wanted)
		return rc;
	if (wanted == 2) {
		note("task %d: could be dumped for root only; fs.suid_dumpable is not 2 here, so "
		     "it cannot be dumped at all",
		     th->task->pid);
		wanted = 0;
	}
	return remote_must(th, "prctl(PR_SET_DUMPABLE)", SYS_prctl, PR_SET_DUMPABLE,
			   (uint64_t)wanted, 0, 0, 0, 0);
}

int creds_late(struct rebuild_thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	const MmEntry *mm = th->task->mm;
	bool leader = th == &th->task->threads[0];
	int rc;

	if (leader && mm->has_dumpable) {
		rc = set_dumpable(th, mm->dumpable);
		if (rc)
			return rc;
	}
	if (!tc->pdeath_sig)
		return R_OK;
	return remote_must(th, "prctl(PR_SET_PDEATHSIG)", SYS_prctl, PR_SET_PDEATHSIG,
			   tc->pdeath_sig, 0, 0, 0, 0);
}

static bool has_no_new_privs(const struct rebuild_thread *th)
{
	const CredsEntry *creds = th->core->thread_core->creds;

	return creds && creds->has_no_new_privs && creds->no_new_privs;
}

/*
 * Threads that had one chain of filters must have one again, not equal ones: only then can a
 * further filter be given to all at once (SECCOMP_FILTER_FLAG_TSYNC).  The leader installs it for
 * all.
 */
static bool one_for_all(const struct rebuild_task *t)
{
	const struct rebuild_thread *leader = &t->threads[0];
	const ThreadCoreEntry *first = leader->core->thread_core;

	for (size_t i = 1; i < t->n_threads; i++) {
		const ThreadCoreEntry *other = t->threads[i].core->thread_core;

		if (!other->has_seccomp_mode || other->seccomp_mode != first->seccomp_mode ||
		    other->seccomp_filter != first->seccomp_filter ||
		    has_no_new_privs(&t->threads[i]) != has_no_new_privs(leader))
			return false;
	}
	return t->n_threads > 1;
}

static int install_filter(struct rebuild_thread *th, const SeccompFilter *filter)
{
	uint32_t flags = filter->has_flags ? filter->flags : 0;

	struct sock_fprog *prog = (struct sock_fprog *)th->task->r->data;
	size_t bytes = filter->filter.len;

	if (bytes > th->task->r->data_bytes - sizeof(*prog) || bytes % sizeof(struct sock_filter)) {
		warn("task %d: a seccomp filter of %zu bytes makes no sense", th->task->pid, bytes);
		return R_DAMAGED;
	}
	prog->len = (unsigned short)(bytes / sizeof(struct sock_filter));
	prog->filter = (struct sock_filter *)(prog + 1);
	memcpy(prog->filter, filter->filter.data, bytes);
	if (one_for_all(th->task))
		flags |= SECCOMP_FILTER_FLAG_TSYNC;
	return remote_must(th, "seccomp", SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags,
			   remote_address(prog), 0, 0, 0);
}

/* Filters are a chain, the newest names its predecessor; the oldest goes in first.  They do not
 * judge our own remote calls: the task is traced with PTRACE_O_SUSPEND_SECCOMP. */
static int install_chain(struct rebuild_thread *th, uint32_t index, unsigned int depth)
{
	const SeccompEntry *all = th->task->r->seccomp;
	int rc;

	if (!all || index >= all->n_seccomp_filters || depth > 256) {
		warn("task %d: its seccomp filter %u is not in the images", th->task->pid, index);
		return R_DAMAGED;
	}
	if (all->seccomp_filters[index]->has_prev) {
		rc = install_chain(th, all->seccomp_filters[index]->prev, depth + 1);
		if (rc)
			return rc;
	}
	return install_filter(th, all->seccomp_filters[index]);
}

int seccomp_set(struct rebuild_thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;

	if (!tc->has_seccomp_mode || tc->seccomp_mode == SECCOMP_MODE__disabled)
		return R_OK;
	if (tc->seccomp_mode == SECCOMP_MODE__strict)
		return remote_must(th, "prctl(PR_SET_SECCOMP)", SYS_prctl, PR_SET_SECCOMP,
				   SECCOMP_MODE_STRICT, 0, 0, 0, 0);
	if (th != &th->task->threads[0] && one_for_all(th->task))
		return R_OK;
	return install_chain(th, tc->seccomp_filter, 0);
}
