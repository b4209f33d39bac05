#include "engine/proc/capture/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

/* The exit signal is 0: the intermediate's end is told to nobody. */
#define INTERMEDIATE_FLAGS (CLONE_VM | CLONE_FILES | CLONE_PARENT_SETTID)
/* A number no process has: waiting for it fails at once. */
#define NO_PID INT32_MAX

struct clone {
	struct inject_site site; /* disposable: for calls in the clone itself */
	uint64_t area;		 /* of the target's site, and what it held if not zeroes */
	size_t area_bytes;
	uint8_t *saved;
	struct tracee tracee; /* large: last */
};

/* Ends a process that is ours until it has been waited for, so that its number is certain. */
static void end_puppet(struct tracee *t, struct inject_site *site)
{
	int64_t ret;
	int status;

	/* If it has another user's number it has to do it itself. */
	if (kill(t->pid, SIGKILL) < 0 &&
	    (errno != EPERM || !site->user ||
	     inject_syscall(t, site, &ret, SYS_exit_group, 0, 0, 0, 0, 0, 0) != R_NOT_FOUND))
		return;
	for (;;) {
		pid_t got = waitpid(t->pid, &status, __WALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || !WIFSTOPPED(status))
			return;
	}
}

/* What is in the making. */
struct making {
	struct tracee *t;
	struct inject_site *site;
	uint64_t home;	  /* the way home of the target's thread */
	uint64_t wait_at; /* step: waits for the intermediate, then home */
	uint64_t exit_at; /* step: exits */
	int64_t pid;	  /* of the intermediate; 0 without */
	struct tracee *intermediate;
	struct inject_site puppet_site;
	char *reason;
};

static void say(struct making *m, const char *what, int64_t result)
{
	snprintf(m->reason, CLONE_REASON_BYTES, "%s: %s", what, strerror((int)-result));
}

/*
 * The two steps lie where arguments of remote calls would.  A thread of a killed snap that is let
 * go after the clone() waits for the intermediate, whose number the kernel has put into the step,
 * and only then goes home: so it leaves no dead child behind.  The intermediate exits.
 */
static int write_steps(struct making *m)
{
	const uint64_t wait_args[6] = { (uint64_t)NO_PID, 0, __WALL, 0, 0, 0 };
	const uint64_t exit_args[6] = { 0 };
	uint8_t steps[2 * ARCH_STEP_BYTES];

	m->home = m->site->frame;
	m->wait_at = m->site->data;
	m->exit_at = m->site->data + ARCH_STEP_BYTES;
	arch_step_build(steps, m->wait_at, &m->t->regs, m->site->syscall_ret, m->site->sigreturn,
			m->home, SYS_wait4, wait_args);
	arch_step_build(steps + ARCH_STEP_BYTES, m->exit_at, &m->t->regs, m->site->syscall_ret,
			m->site->sigreturn, 0, SYS_exit_group, exit_args);
	if (trace_write(m->t->pid, m->wait_at, steps, sizeof(steps)) == R_OK)
		return R_OK;
	if (errno == ESRCH)
		return R_NOT_FOUND;
	warn_errno("pid %d: cannot write to its stack", m->t->pid);
	return R_FAILED;
}

static struct tracee *new_tracee(void)
{
	struct tracee *t = aligned_alloc(64, sizeof(*t));

	if (!t)
		warn("no memory for a clone; free some and try again");
	return t;
}

/* A process that shares the target's memory and descriptors.  Its stack pointer is on the step that
 * exits, so that it does, should it ever be let go. */
static int make_intermediate(struct making *m)
{
	int64_t pid;
	int rc;

	rc = trace_set_options(m->t, PTRACE_O_TRACECLONE);
	if (rc != R_OK)
		return rc;
	m->site->frame = m->wait_at;
	rc = inject_syscall(m->t, m->site, &pid, SYS_clone, INTERMEDIATE_FLAGS, m->exit_at,
			    arch_step_argument(m->wait_at), 0, 0, 0);
	if (rc != R_OK)
		return rc;
	if (pid < 0) {
		say(m, "fork failed", pid);
		return R_BUSY;
	}
	m->pid = pid;
	m->intermediate->pid = (pid_t)pid;
	rc = trace_adopt_bare((pid_t)pid, (pid_t)pid, m->intermediate);
	if (rc == R_OK)
		rc = trace_set_options(m->intermediate, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
	if (rc != R_OK)
		return rc;
	m->puppet_site = (struct inject_site){
		.pid = (pid_t)pid,
		.syscall_ret = m->site->syscall_ret,
		.disposable = true,
	};
	return inject_begin(m->intermediate, &m->puppet_site);
}

/* A userfaultfd of the address space, which only we keep: it never is in the target's table. */
static int make_uffd(struct making *m, int *uffd)
{
	int64_t ret;
	int rc, pidfd;

	rc = inject_syscall(m->intermediate, &m->puppet_site, &ret, SYS_userfaultfd,
			    O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
	if (rc != R_OK)
		return rc;
	if (ret < 0) {
		say(m, "userfaultfd failed", ret);
		return R_BUSY;
	}
	pidfd = (int)syscall(SYS_pidfd_open, (pid_t)m->pid, 0);
	*uffd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, (int)ret, 0);
	if (*uffd < 0)
		say(m, "pidfd_getfd failed", -errno);
	if (pidfd >= 0)
		close(pidfd);
	return *uffd < 0 ? R_BUSY : R_OK;
}

/* The clone proper: a child of the intermediate, without descriptors as that one. */
static int make_clone(struct making *m, struct clone *clone)
{
	int64_t ret;
	int rc;

	rc = inject_syscall(m->intermediate, &m->puppet_site, &ret, SYS_clone, 0, m->exit_at, 0, 0,
			    0, 0);
	if (rc != R_OK || ret < 0) {
		if (rc == R_OK)
			say(m, "fork failed", ret);
		return rc == R_OK ? R_BUSY : rc;
	}
	rc = trace_adopt_bare((pid_t)ret, (pid_t)ret, &clone->tracee);
	if (rc != R_OK)
		return rc;
	clone->site = m->puppet_site;
	clone->site.pid = (pid_t)ret;
	clone->site.user = 0;
	return inject_begin(&clone->tracee, &clone->site);
}

/* The intermediate ends; the target's thread, which is its parent, takes note of it. */
static int end_intermediate(struct making *m)
{
	int64_t ret;
	int rc;

	end_puppet(m->intermediate, &m->puppet_site);
	rc = inject_syscall(m->t, m->site, &ret, SYS_wait4, (uint64_t)m->pid, 0, __WALL, 0, 0, 0);
	if (rc == R_OK && ret != m->pid) {
		errno = ret < 0 ? (int)-ret : ECHILD;
		warn_errno("pid %d: cannot take note of the end of process %d", m->t->pid,
			   (pid_t)m->pid);
		return R_FAILED;
	}
	return rc;
}

static int remember_area(struct clone *clone, const struct inject_site *site)
{
	clone->area = site->area;
	clone->area_bytes = site->area_bytes;
	if (!site->saved)
		return R_OK;
	clone->saved = malloc(site->area_bytes);
	if (!clone->saved) {
		warn("no memory for a clone; free some and try again");
		return R_FAILED;
	}
	memcpy(clone->saved, site->saved, site->area_bytes);
	return R_OK;
}

/* What the intermediate is for; NULL: not wanted. */
struct wanted {
	struct clone *clone;
	int *uffd;
	int (*work)(const struct puppet *puppet, void *arg); /* in the clone, if there is one */
	void *arg;
};

/* A clone that was only for this ends first, and the intermediate takes note of that: nobody else
 * ever becomes its parent. */
static int let_work(struct making *m, const struct wanted *wanted)
{
	struct clone *clone = wanted->clone;
	struct puppet puppet = {
		.tracee = clone ? &clone->tracee : m->intermediate,
		.site = clone ? &clone->site : &m->puppet_site,
		.data = m->site->data + 2 * ARCH_STEP_BYTES,
		.data_bytes = m->site->data_bytes - 2 * ARCH_STEP_BYTES,
	};
	int rc = wanted->work(&puppet, wanted->arg), end;
	int64_t ret;

	if (!clone)
		return rc;
	end_puppet(&clone->tracee, &clone->site);
	end = inject_syscall(m->intermediate, &m->puppet_site, &ret, SYS_wait4,
			     (uint64_t)clone->tracee.pid, 0, __WALL, 0, 0, 0);
	clone->tracee.pid = 0;
	return rc == R_OK ? end : rc;
}

/* What is to be made, in the order in which the intermediate makes it. */
static int make_wanted(struct making *m, const struct wanted *wanted)
{
	int64_t ret;
	int rc;

	rc = inject_syscall(m->intermediate, &m->puppet_site, &ret, SYS_close_range, 0, ~0u,
			    CLOSE_RANGE_UNSHARE, 0, 0, 0);
	if (rc == R_OK && ret < 0) {
		say(m, "close_range failed", ret);
		rc = R_BUSY;
	}
	if (rc == R_OK && wanted->uffd)
		rc = make_uffd(m, wanted->uffd);
	if (rc == R_OK && wanted->clone)
		rc = make_clone(m, wanted->clone);
	return rc == R_OK && wanted->work ? let_work(m, wanted) : rc;
}

static struct clone *new_clone(const struct inject_site *site)
{
	struct clone *new = aligned_alloc(64, (sizeof(*new) + 63) & ~(size_t)63);

	if (!new) {
		warn("no memory for a clone; free some and try again");
		return NULL;
	}
	memset(new, 0, offsetof(struct clone, tracee));
	new->tracee.pid = 0;
	if (remember_area(new, site) == R_OK)
		return new;
	free(new);
	return NULL;
}

/* From the intermediate's birth to its end, and between them what is wanted of it. */
static int use_intermediate(struct making *m, const struct wanted *wanted)
{
	int rc, end;

	m->intermediate = new_tracee();
	rc = m->intermediate ? write_steps(m) : R_FAILED;
	if (rc == R_OK) {
		rc = make_intermediate(m);
		if (rc == R_OK)
			rc = make_wanted(m, wanted);
		if (m->pid) {
			end = end_intermediate(m);
			if (end != R_OK)
				rc = end;
		}
		m->site->frame = m->home;
		end = trace_set_options(m->t, 0);
		if (rc == R_OK)
			rc = end;
	}
	free(m->intermediate);
	return rc;
}

int clone_borrow(struct tracee *t, struct inject_site *site, bool copied,
		 int (*work)(const struct puppet *puppet, void *arg), void *arg,
		 char reason[CLONE_REASON_BYTES])
{
	struct making m = { .t = t, .site = site, .reason = reason };
	struct wanted wanted = { .work = work, .arg = arg };
	int rc;

	if (copied && !(wanted.clone = new_clone(site)))
		return R_FAILED;
	rc = use_intermediate(&m, &wanted);
	/* Ended already, unless something went wrong before. */
	clone_end(wanted.clone);
	return rc;
}

int clone_make(struct tracee *t, struct inject_site *site, struct clone **clone, int *uffd,
	       char reason[CLONE_REASON_BYTES])
{
	struct making m = { .t = t, .site = site, .reason = reason };
	struct clone *new = clone ? new_clone(site) : NULL;
	struct wanted wanted = { .clone = new, .uffd = uffd };
	int rc = R_FAILED;

	if (!clone || new)
		rc = use_intermediate(&m, &wanted);
	if (rc != R_OK) {
		clone_end(new);
		if (uffd && *uffd >= 0)
			close(*uffd);
	} else if (clone) {
		*clone = new;
	}
	return rc;
}

pid_t clone_pid(const struct clone *clone)
{
	return clone->tracee.pid;
}

int clone_settle(struct clone *clone)
{
	uint8_t *held = clone->saved ? clone->saved : calloc(1, clone->area_bytes);
	pid_t pid = clone->tracee.pid;
	char path[64];
	int64_t ret;
	int rc;

	if (!held || trace_write(pid, clone->area, held, clone->area_bytes) != R_OK) {
		warn_errno("process %d, the clone of a target: writing its memory", pid);
		rc = R_FAILED;
		goto out;
	}
	rc = inject_syscall(&clone->tracee, &clone->site, &ret, SYS_setsid, 0, 0, 0, 0, 0, 0);
	if (rc == R_NOT_FOUND) {
		warn("process %d, the clone of a target, was killed; try again", pid);
		rc = R_FAILED;
	}
	/* Should memory run out, it is the first to go.  Where that is not allowed it is like the
	 * target. */
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	io_write_file(AT_FDCWD, path, "1000", 4);
out:
	if (held != clone->saved)
		free(held);
	return rc;
}

void clone_end(struct clone *clone)
{
	if (!clone)
		return;
	if (clone->tracee.pid)
		end_puppet(&clone->tracee, &clone->site);
	free(clone->saved);
	free(clone);
}
