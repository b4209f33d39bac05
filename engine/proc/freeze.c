#include "engine/proc/freeze.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace.h"

/* A tree that makes processes faster than this many looks can catch is not going to stand still. */
#define LOOKS_MAX 1000

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static struct tree_task *find_task(const struct tree *tree, pid_t pid)
{
	for (size_t i = 0; i < tree->task_count; i++)
		if (tree->tasks[i].pid == pid)
			return &tree->tasks[i];
	return NULL;
}

static bool has_thread(const struct tree_task *task, pid_t tid)
{
	for (size_t i = 0; i < task->thread_count; i++)
		if (task->threads[i]->tid == tid)
			return true;
	return false;
}

static void describe(struct tree_task *task, const struct proc_stat *stat)
{
	task->pid = stat->pid;
	task->ppid = stat->ppid;
	task->pgid = stat->pgid;
	task->sid = stat->sid;
	task->start_time = stat->start_time;
	task->state = stat->state;
	task->exit_code = stat->exit_code;
	memcpy(task->comm, stat->comm, sizeof task->comm);
	/* A leader that ended before its other threads looks like a zombie too. */
	task->zombie = stat->state == 'Z' && stat->threads <= 1;
}

static int add_task(struct tree *tree, pid_t pid)
{
	struct proc_stat stat;
	int rc = proc_stat_read(pid, 0, &stat);
	if (rc)
		return rc;
	if (stat.state == 'X')
		return R_NOT_FOUND;
	struct tree_task *more = realloc(tree->tasks, (tree->task_count + 1) * sizeof *tree->tasks);
	if (!more) {
		warn_errno("cannot freeze process %d", pid);
		return R_FAILED;
	}
	tree->tasks = more;
	struct tree_task *task = &tree->tasks[tree->task_count++];
	*task = (struct tree_task){ 0 };
	describe(task, &stat);
	return R_OK;
}

static void drop_task(struct tree *tree, size_t index)
{
	struct tree_task *task = &tree->tasks[index];
	for (size_t i = 0; i < task->thread_count; i++)
		free(task->threads[i]);
	free(task->threads);
	tree->task_count--;
	memmove(task, task + 1, (tree->task_count - index) * sizeof *task);
}

static int add_thread(struct tree_task *task, pid_t tid)
{
	struct tracee **more =
	    realloc(task->threads, (task->thread_count + 1) * sizeof(struct tracee *));
	if (more)
		task->threads = more;
	struct tracee *t = aligned_alloc(64, sizeof(struct tracee));
	if (!more || !t) {
		warn_errno("cannot freeze process %d", task->pid);
		free(t);
		return R_FAILED;
	}
	int rc = trace_seize(task->pid, tid, t);
	if (rc) {
		free(t);
		return rc;
	}
	task->threads[task->thread_count++] = t;
	return R_OK;
}

/* Seizes the threads of one task not held yet.  *news is set if there were any. */
static int hold_threads(struct tree_task *task, bool *news)
{
	pid_t *tids;
	size_t count;
	int rc = proc_threads(task->pid, &tids, &count);
	for (size_t i = 0; rc == R_OK && i < count; i++) {
		if (has_thread(task, tids[i]))
			continue;
		*news = true;
		rc = add_thread(task, tids[i]);
		if (rc == R_NOT_FOUND && tids[i] != task->pid)
			rc =
			    R_OK; /* ended, and what it started before is found in the next round */
	}
	free(tids);
	return rc;
}

/* Adds children of one task not known yet. */
static int find_children(struct tree *tree, size_t index, bool *news)
{
	int rc = R_OK;
	for (size_t i = 0; rc == R_OK && i < tree->tasks[index].thread_count; i++) {
		pid_t *pids;
		size_t count;
		rc = proc_children(tree->tasks[index].pid, tree->tasks[index].threads[i]->tid,
				   &pids, &count);
		for (size_t j = 0; rc == R_OK && j < count; j++) {
			if (find_task(tree, pids[j]))
				continue;
			*news = true;
			rc = add_task(tree, pids[j]);
			if (rc == R_NOT_FOUND)
				rc = R_OK;
		}
		free(pids);
	}
	return rc;
}

/* A task that could not be held: became a zombie, is gone, or is of the kind nobody can hold. */
static int reconsider(struct tree *tree, size_t index)
{
	struct tree_task *task = &tree->tasks[index];
	struct proc_stat stat;
	int rc = proc_stat_read(task->pid, 0, &stat);
	if (rc == R_OK && stat.state == 'Z') {
		describe(task, &stat);
		if (task->zombie && task->thread_count == 0)
			return R_OK;
		if (!task->zombie) {
			warn("the main thread of process %d (%s) has ended before its other "
			     "threads; such a "
			     "process is not supported",
			     task->pid, task->comm);
			return R_UNSUPPORTED;
		}
		/* Its threads died in our hands; what is left of them is nothing. */
		for (size_t i = 0; i < task->thread_count; i++)
			free(task->threads[i]);
		task->thread_count = 0;
		return R_OK;
	}
	if (rc == R_FAILED)
		return rc;
	if (rc == R_OK && stat.state != 'X') {
		warn("process %d executed another program while it was being frozen; try again",
		     task->pid);
		return R_FAILED;
	}
	if (index == 0) {
		warn("process %d ended while it was being frozen", task->pid);
		return R_NOT_FOUND;
	}
	drop_task(tree, index);
	return R_OK;
}

/* One look over the tree. */
static int look(struct tree *tree, bool *news)
{
	*news = false;
	for (size_t i = 0; i < tree->task_count; i++) {
		if (tree->tasks[i].zombie)
			continue;
		int rc = hold_threads(&tree->tasks[i], news);
		if (rc == R_NOT_FOUND) {
			size_t before = tree->task_count;
			*news = true;
			rc = reconsider(tree, i);
			if (rc == R_OK && (tree->task_count < before || tree->tasks[i].zombie)) {
				i -= tree->task_count < before;
				continue;
			}
		}
		if (rc)
			return rc;
		rc = find_children(tree, i, news);
		if (rc == R_NOT_FOUND) { /* a thread ended just now */
			*news = true;
			rc = R_OK;
		}
		if (rc)
			return rc;
	}
	return R_OK;
}

/* Group, session and the like may have changed until the last thread stopped. */
static int refresh(struct tree *tree)
{
	for (size_t i = 0; i < tree->task_count; i++) {
		struct tree_task *task = &tree->tasks[i];
		struct proc_stat stat;
		int rc = proc_stat_read(task->pid, 0, &stat);
		if (rc) {
			warn("process %d ended while it was being frozen; try again", task->pid);
			return R_FAILED;
		}
		char state = task->state;
		describe(task, &stat);
		if (!task->zombie)
			task->state = state == 'Z' ? stat.state : state;
		for (size_t j = 0; j < task->thread_count; j++)
			task->stopped |= task->threads[j]->group_stopped;
	}
	return R_OK;
}

static int by_thread(const void *a, const void *b)
{
	const struct tracee *x = *(struct tracee *const *)a, *y = *(struct tracee *const *)b;
	bool x_leads = x->tid == x->pid, y_leads = y->tid == y->pid;
	if (x_leads != y_leads)
		return y_leads - x_leads;
	return (x->tid > y->tid) - (x->tid < y->tid);
}

int tree_freeze(pid_t root, struct tree *tree)
{
	*tree = (struct tree){ .first_stop_ns = now_ns() };
	int rc = add_task(tree, root);
	if (rc == R_NOT_FOUND)
		warn("there is no process %d", root);
	if (rc)
		return rc;
	bool news = true;
	int looks = 0;
	while (rc == R_OK && news && looks++ < LOOKS_MAX)
		rc = look(tree, &news);
	if (rc == R_OK && news) {
		warn("process %d makes new processes faster than they can be frozen", root);
		rc = R_FAILED;
	}
	if (rc == R_OK)
		rc = refresh(tree);
	if (rc) {
		tree_release(tree);
		return rc;
	}
	for (size_t i = 0; i < tree->task_count; i++)
		if (tree->tasks[i].thread_count)
			qsort(tree->tasks[i].threads, tree->tasks[i].thread_count,
			      sizeof(struct tracee *), by_thread);
	return R_OK;
}

static void free_tree(struct tree *tree)
{
	while (tree->task_count)
		drop_task(tree, tree->task_count - 1);
	free(tree->tasks);
	tree->tasks = NULL;
	tree->frozen_ns = now_ns() - tree->first_stop_ns;
}

int tree_release(struct tree *tree)
{
	int result = R_OK;
	/* Children first: a parent that runs finds them as it left them. */
	for (size_t i = tree->task_count; i-- > 0;) {
		struct tree_task *task = &tree->tasks[i];
		for (size_t j = task->thread_count; j-- > 0;)
			if (trace_release(task->threads[j]) == R_FAILED)
				result = R_FAILED;
	}
	free_tree(tree);
	return result;
}

int tree_stop(struct tree *tree)
{
	int result = R_OK;
	for (size_t i = 0; i < tree->task_count; i++) {
		const struct tree_task *task = &tree->tasks[i];
		if (task->zombie || task->stopped)
			continue;
		if (kill(task->pid, SIGSTOP) && errno != ESRCH) {
			warn_errno("cannot stop process %d", task->pid);
			result = R_FAILED;
		}
	}
	return result;
}

/* As tracer we are told of each thread's end and the kernel tells nobody else before. */
static void reap(const struct tracee *t)
{
	int status;
	for (;;) {
		pid_t got = waitpid(t->tid, &status, __WALL);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || !WIFSTOPPED(status))
			return;
	}
}

int tree_kill(struct tree *tree)
{
	int result = R_OK;
	for (size_t i = 0; i < tree->task_count; i++) {
		if (tree->tasks[i].zombie)
			continue;
		if (kill(tree->tasks[i].pid, SIGKILL) && errno != ESRCH) {
			warn_errno("cannot kill process %d", tree->tasks[i].pid);
			result = R_FAILED;
		}
	}
	/* The leader last: it is not reported before its threads are. */
	for (size_t i = tree->task_count; result == R_OK && i-- > 0;)
		for (size_t j = tree->tasks[i].thread_count; j-- > 0;)
			reap(tree->tasks[i].threads[j]);
	free_tree(tree);
	return result;
}

size_t tree_threads(const struct tree *tree)
{
	size_t count = 0;
	for (size_t i = 0; i < tree->task_count; i++)
		count += tree->tasks[i].thread_count;
	return count;
}
