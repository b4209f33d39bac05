/*
 * Are the numbers free that the tasks need?
 *
 * A number is taken by a process or thread, by one that has ended and whose parent has yet to take
 * note of it, and by a process group or a session, as long as it has members: those may be
 * processes that are not of the tree, say what a daemon has started and left behind.
 */
#include "engine/rebuild/rebuild.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/warn.h"
#include "engine/proc/stat.h"

/* How long ended tasks may take to be reaped by their parents. */
#define VANISH_TRIES 1000
#define VANISH_PAUSE_US 10000
#define TELL_TRIES 50 /* half a second */

/* A process outside the tree whose session or group has a number that is needed. */
struct member {
	pid_t pid, number;
	const char *what; /* "session", "process group" */
};

struct numbers {
	pid_t *tids; /* ascending */
	size_t n;
};

static int order_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int numbers_of(const struct rebuild *r, struct numbers *numbers)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_tasks; i++)
		n += r->tasks[i]->n_threads;
	*numbers = (struct numbers){ .tids = calloc(n + 1, sizeof(pid_t)) };
	if (!numbers->tids) {
		warn("no memory for the numbers of %zu threads", n);
		return R_FAILED;
	}
	for (size_t i = 0; i < r->n_tasks; i++)
		for (size_t k = 0; k < r->tasks[i]->n_threads; k++)
			numbers->tids[numbers->n++] = r->tasks[i]->threads[k].tid;
	qsort(numbers->tids, numbers->n, sizeof(pid_t), order_pids);
	return R_OK;
}

static bool is_needed(const struct numbers *numbers, pid_t number)
{
	return bsearch(&number, numbers->tids, numbers->n, sizeof(pid_t), order_pids) != NULL;
}

/* True if `pid` is `root` or one of its descendants. */
static bool descends_from(pid_t pid, pid_t root)
{
	struct proc_status status;
	struct proc_stat stat;

	if (proc_status_read(pid, 0, &status) == R_OK)
		pid = status.tgid;
	while (pid > 1 && pid != root) {
		if (proc_stat_read(pid, 0, &stat) != R_OK)
			return false;
		pid = stat.ppid;
	}
	return pid == root;
}

static bool is_of_living(const struct rebuild *r, pid_t tid)
{
	return r->living && descends_from(tid, r->living);
}

static bool in_use(pid_t tid)
{
	return kill(tid, 0) == 0 || errno == EPERM;
}

static bool runs(pid_t tid)
{
	struct proc_status status;

	return proc_status_read(tid, 0, &status) == R_OK && status.state != 'Z' &&
	       status.state != 'X';
}

/* Most parents reap at once; of the others the user should know why nothing happens. */
static void tell_wait(pid_t number, pid_t pid, int tries)
{
	struct proc_stat ended, parent;

	if (tries != TELL_TRIES || proc_stat_read(pid, 0, &ended) != R_OK ||
	    proc_stat_read(ended.ppid, 0, &parent) != R_OK)
		return;
	note("pid %d is needed; process %d has ended, but its parent, pid %d (%s), has yet to take "
	     "note of that; waiting up to %d s for it",
	     number, pid, parent.pid, parent.comm, VANISH_TRIES * VANISH_PAUSE_US / 1000000);
}

/* What has ended is as good as free, but its number is not until its parent (init, mostly) has
 * reaped it: that is worth a wait.  Waits a little, or says no. */
static bool may_free(struct rebuild *r, pid_t number, pid_t pid, int tries)
{
	if (runs(pid) || tries == VANISH_TRIES || stop_asked(r))
		return false;
	tell_wait(number, pid, tries);
	usleep(VANISH_PAUSE_US);
	return true;
}

static bool freed_soon(struct rebuild *r, pid_t tid)
{
	for (int i = 0; in_use(tid); i++)
		if (!may_free(r, tid, tid, i))
			return false;
	return true;
}

/* Needs no right to look at that process. */
static bool is_member(const struct numbers *numbers, pid_t pid, struct member *member)
{
	pid_t sid = getsid(pid), pgid = getpgid(pid);

	if (is_needed(numbers, sid))
		*member = (struct member){ .pid = pid, .number = sid, .what = "session" };
	else if (is_needed(numbers, pgid))
		*member = (struct member){ .pid = pid, .number = pgid, .what = "process group" };
	else
		return false;
	return true;
}

/* R_OK and the first one; R_NOT_FOUND; R_FAILED (reported). */
static int find_member(const struct rebuild *r, const struct numbers *numbers,
		       struct member *member)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int rc = R_NOT_FOUND;

	if (!dir) {
		warn_errno("/proc");
		return R_FAILED;
	}
	while (rc == R_NOT_FOUND && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    is_member(numbers, atoi(entry->d_name), member) &&
		    !is_of_living(r, member->pid))
			rc = R_OK;
	closedir(dir);
	return rc;
}

static void warn_member(const struct member *member)
{
	struct proc_stat stat = { .comm = "?" };

	proc_stat_read(member->pid, 0, &stat);
	if (member->pid == getpid())
		warn("pid %d is needed, but snap itself is in the %s of that number; call it from "
		     "another session (setsid snap restore ...)",
		     member->number, member->what);
	else
		warn("pid %d is needed, but process %d (%s), which is not of the tree, is in the "
		     "%s of that number; end it, then restore again",
		     member->number, member->pid, stat.comm, member->what);
}

/* R_OK if none is there, R_BUSY, R_FAILED; both reported. */
static int check_members(struct rebuild *r, const struct numbers *numbers)
{
	struct member member;
	int rc;

	for (int i = 0; (rc = find_member(r, numbers, &member)) == R_OK; i++)
		if (!may_free(r, member.number, member.pid, i)) {
			if (stop_asked(r))
				return R_FAILED;
			warn_member(&member);
			return R_BUSY;
		}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

int pids_check_groups(struct rebuild *r)
{
	struct numbers numbers;
	int rc = numbers_of(r, &numbers);

	if (rc == R_OK)
		rc = check_members(r, &numbers);
	free(numbers.tids);
	return rc;
}

static int check_tid(struct rebuild *r, const struct rebuild_task *t, pid_t tid)
{
	if (!in_use(tid) || is_of_living(r, tid) || freed_soon(r, tid))
		return R_OK;
	if (stop_asked(r))
		return R_FAILED;
	warn("pid %d is in use; end that process%s, then restore again", tid,
	     t == r->root && tid == t->pid && !r->living
		 ? " (or give --replace if it is the target itself)"
		 : "");
	return R_BUSY;
}

int pids_check(struct rebuild *r)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++)
		for (size_t k = 0; rc == R_OK && k < r->tasks[i]->n_threads; k++)
			rc = check_tid(r, r->tasks[i], r->tasks[i]->threads[k].tid);
	return rc ? rc : pids_check_groups(r);
}

static bool any_in_use(const struct rebuild *r, pid_t *tid)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		for (size_t k = 0; k < r->tasks[i]->n_threads; k++) {
			*tid = r->tasks[i]->threads[k].tid;
			if (in_use(*tid))
				return true;
		}
	return false;
}

int pids_wait(const struct rebuild *r)
{
	pid_t tid = 0;

	for (int i = 0; i < VANISH_TRIES; i++) {
		if (!any_in_use(r, &tid))
			return R_OK;
		tell_wait(tid, tid, i);
		usleep(VANISH_PAUSE_US);
	}
	warn("pid %d is still taken: its parent has not reaped it; end or wake that parent, then "
	     "restore again",
	     tid);
	return R_BUSY;
}

bool pid_lingers(struct rebuild *r, pid_t tid, int *tries)
{
	if (*tries == VANISH_TRIES || stop_asked(r) || (in_use(tid) && runs(tid)))
		return false;
	++*tries;
	usleep(VANISH_PAUSE_US);
	return true;
}

int pid_busy(struct rebuild *r, pid_t tid)
{
	const struct numbers number = { .tids = &tid, .n = 1 };
	struct member member;

	if (stop_asked(r))
		return R_FAILED;
	if (!in_use(tid) && find_member(r, &number, &member) == R_OK)
		warn_member(&member);
	else
		warn("pid %d is in use; end what uses it, then restore again", tid);
	return R_BUSY;
}
