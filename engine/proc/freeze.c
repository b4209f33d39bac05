#include "engine/proc/freeze_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/maps.h"
#include "engine/proc/phases.h"
#include "engine/proc/trace_internal.h"

/* A tree that makes processes faster than this many looks can catch is not going to stand still. */
#define LOOKS_MAX 1000

/* A thread in uninterruptible sleep is waited for this long while others stand still; with what is
 * frozen before and after, an attempt in vain takes less than 200 ms. */
#define ASLEEP_PATIENCE_NS 150000000ULL
/* Then that long while they run: a child of vfork usually executes its program at once, while a
 * disk may take its time. */
#define VFORK_PATIENCE_NS 1000000000ULL
#define SLEEP_PATIENCE_NS 3000000000ULL
#define ATTEMPTS 5

/* How long a process may be seen without its leader, as it is in the middle of an execve. */
#define LEADERLESS_LOOKS 100
#define LOOK_PAUSE_NS 1000000L
#define NOBODY_LOOKS 5
#define NOBODY_PAUSE_NS 100000L

/* A tree being frozen. */
struct frost {
	struct tree *tree;
	uint64_t give_up_ns; /* CLOCK_MONOTONIC: no patience with sleepers beyond it */
	struct tracee *late; /* a thread that sleeps beyond it */
	bool late_is_vfork;
	int leaderless; /* looks at a process without its leader */
};

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

static void describe(struct tree_task *task, const struct proc_stat *stat)
{
	task->stat = *stat;
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

/* While a thread that executes another program takes over its leader's number there is nobody of
 * that number for a moment. */
static int stat_of(pid_t pid, struct proc_stat *stat)
{
	int rc = R_NOT_FOUND;
	for (int i = 0; rc == R_NOT_FOUND && i < NOBODY_LOOKS; i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = NOBODY_PAUSE_NS }, NULL);
		rc = proc_stat_read(pid, 0, stat);
		if (rc == R_OK && stat->state == 'X')
			rc = R_NOT_FOUND;
	}
	return rc;
}

static int add_task(struct tree *tree, pid_t pid)
{
	struct proc_stat stat;
	int rc = stat_of(pid, &stat);
	if (rc)
		return rc;
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
	task_release(task);
	tree->task_count--;
	memmove(task, task + 1, (tree->task_count - index) * sizeof *task);
}

/* Adds children of one task not known yet. */
static int find_children(struct tree *tree, size_t index, bool *news)
{
	int rc = R_OK;
	for (size_t i = 0; rc == R_OK && i < tree->tasks[index].thread_count; i++) {
		pid_t *pids;
		size_t count;
		if (tree->tasks[index].threads[i]->lost)
			continue;
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

/* The leader has ended, or is about to be replaced by a thread that executes another program. */
static int leaderless(struct frost *f, const struct tree_task *task)
{
	if (f->leaderless++ < LEADERLESS_LOOKS) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_PAUSE_NS }, NULL);
		return R_OK;
	}
	warn("the main thread of process %d (%s) has ended before its other threads; such a "
	     "process is not supported",
	     task->pid, task->comm);
	return R_UNSUPPORTED;
}

/* A task that could not be held: became a zombie, is gone, is executing another program or is of
 * the kind nobody can hold.  R_OK: to be looked at again, if it still is in the tree. */
static int reconsider(struct frost *f, size_t index)
{
	struct tree *tree = f->tree;
	struct tree_task *task = &tree->tasks[index];
	struct proc_stat stat;
	int rc = stat_of(task->pid, &stat);
	if (rc == R_FAILED)
		return rc;
	if (rc == R_OK && stat.state == 'Z') {
		describe(task, &stat);
		if (!task->zombie)
			return leaderless(f, task);
		/* Its threads died in our hands; what is left of them is nothing. */
		return task_disown(task);
	}
	if (rc == R_OK)
		return R_OK;
	if (index == 0) {
		warn("process %d ended while it was being frozen", task->pid);
		return R_NOT_FOUND;
	}
	drop_task(tree, index);
	return R_OK;
}

/* One look over the tree. */
static int look(struct frost *f, bool *news)
{
	struct tree *tree = f->tree;
	*news = false;
	for (size_t i = 0; i < tree->task_count; i++) {
		if (tree->tasks[i].zombie)
			continue;
		int rc = task_hold(&tree->tasks[i], f->give_up_ns, &f->late, news);
		if (rc == R_NOT_FOUND) {
			size_t before = tree->task_count;
			*news = true;
			rc = reconsider(f, i);
			i -= tree->task_count < before;
			if (rc == R_OK)
				continue;
		}
		if (rc)
			return rc;
		rc = find_children(tree, i, news);
		if (rc == R_NOT_FOUND) { /* a thread was ended just now */
			task_is_held(&tree->tasks[i]);
			tree->tasks[i].listed = false;
			*news = true;
			rc = R_OK;
		}
		if (rc)
			return rc;
	}
	return R_OK;
}

/*
 * All threads that were found are held; makes sure that they still are and that these are all, and
 * sees what may have changed until the last one stopped: group, session and the like.
 */
static int look_again(struct tree *tree, bool *news)
{
	for (size_t i = 0; i < tree->task_count; i++) {
		struct tree_task *task = &tree->tasks[i];
		struct proc_stat stat;
		bool held = task_is_held(task);
		*news |= !held;
		task_tidy(task);
		int rc = proc_stat_read(task->pid, 0, &stat);
		if (rc == R_NOT_FOUND) {
			warn("process %d ended while it was being frozen; try again", task->pid);
			return R_FAILED;
		}
		if (rc)
			return rc;
		char state = task->state;
		bool was_zombie = task->zombie;
		describe(task, &stat);
		if (!task->zombie)
			task->state = state == 'Z' ? stat.state : state;
		bool differs =
		    task->zombie ? !was_zombie : (size_t)stat.threads != task->thread_count;
		*news |= differs;
		task->listed &= held && !differs;
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

/* One attempt.  R_BUSY: f->late does not stop.  Unless R_OK everything but that runs on. */
static int freeze_once(struct frost *f, pid_t root)
{
	struct tree *tree = f->tree;
	*tree = (struct tree){ .first_stop_ns = now_ns() };
	phase_enter(PHASE_STOP);
	f->give_up_ns = tree->first_stop_ns + ASLEEP_PATIENCE_NS;
	f->leaderless = 0;
	f->late = NULL;
	int rc = add_task(tree, root);
	if (rc == R_NOT_FOUND)
		warn("there is no process %d", root);
	bool news = true;
	int looks = 0;
	while (rc == R_OK && news && looks++ < LOOKS_MAX) {
		rc = look(f, &news);
		if (rc == R_OK && !news)
			rc = look_again(tree, &news);
	}
	if (rc == R_OK && news) {
		warn("process %d makes new processes faster than they can be frozen", root);
		rc = R_FAILED;
	}
	if (rc == R_OK)
		return rc;
	if (f->late) {
		f->late->before = NULL;
		f->late_is_vfork = f->late->hindrance == HINDRANCE_VFORK;
	}
	tree_release(tree);
	return rc;
}

/* Waits for the late thread while everything else runs.  R_OK: it is worth another attempt. */
static int outwait(struct frost *f, int attempt)
{
	int rc = R_BUSY;
	if (attempt < ATTEMPTS)
		rc = trace_await(f->late, f->late_is_vfork ? VFORK_PATIENCE_NS : SLEEP_PATIENCE_NS);
	else
		trace_warn_late(f->late);
	if (rc == R_OK)
		rc = trace_release(f->late);
	if (rc == R_NOT_FOUND)
		trace_reap_dying(f->late);
	free(f->late);
	f->late = NULL;
	if (rc == R_NOT_FOUND)
		return R_OK;
	if (rc == R_BUSY)
		return f->late_is_vfork ? R_UNSUPPORTED : R_FAILED;
	return rc;
}

int tree_freeze(pid_t root, struct tree *tree)
{
	struct frost f = { .tree = tree };
	uint64_t in_vain_ns = 0;
	int rc = trace_ticks_begin();
	if (rc) {
		*tree = (struct tree){ 0 };
		return rc;
	}
	inject_site_seek(root);
	maps_ready();
	for (int attempt = 1;; attempt++) {
		rc = freeze_once(&f, root);
		tree->in_vain_ns = in_vain_ns;
		if (rc != R_BUSY)
			break;
		in_vain_ns = tree->frozen_ns;
		rc = outwait(&f, attempt);
		if (rc)
			break;
	}
	trace_ticks_end();
	for (size_t i = 0; rc == R_OK && i < tree->task_count; i++)
		if (tree->tasks[i].thread_count)
			qsort(tree->tasks[i].threads, tree->tasks[i].thread_count,
			      sizeof(struct tracee *), by_thread);
	return rc;
}

static void free_tree(struct tree *tree)
{
	while (tree->task_count)
		drop_task(tree, tree->task_count - 1);
	free(tree->tasks);
	tree->tasks = NULL;
	tree->frozen_ns = tree->in_vain_ns + now_ns() - tree->first_stop_ns;
	phase_enter(PHASE_NONE);
}

int tree_release(struct tree *tree)
{
	int result = R_OK;
	phase_enter(PHASE_RELEASE);
	/* Children first: a parent that runs finds them as it left them. */
	for (size_t i = tree->task_count; i-- > 0;)
		if (task_release(&tree->tasks[i]) == R_FAILED)
			result = R_FAILED;
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
	for (size_t i = tree->task_count; result == R_OK && i-- > 0;)
		task_bury(&tree->tasks[i]);
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
