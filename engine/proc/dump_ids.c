/* Which kernel objects tasks share. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"

/* R_OK if both threads have the same object, R_NOT_FOUND if not. */
static int same(pid_t a, pid_t b, int type)
{
	long order = syscall(SYS_kcmp, a, b, type, 0, 0);

	if (order < 0) {
		warn_errno("kcmp of pids %d and %d", a, b);
		return R_FAILED;
	}
	return order == 0 ? R_OK : R_NOT_FOUND;
}

/* Threads may have descriptors or a working directory of their own; no image tells that. */
static int check_threads(struct dump_ctx *ctx, const struct tree_task *task)
{
	for (size_t i = 1; i < task->thread_count; i++) {
		pid_t leader = task->threads[0]->tid, tid = task->threads[i]->tid;
		int files = same(leader, tid, KCMP_FILES), fs = same(leader, tid, KCMP_FS);

		if (files == R_FAILED || fs == R_FAILED)
			return R_FAILED;
		if (files != R_OK)
			dump_refuse(ctx, tid,
				    "it has open files of its own, apart from those of "
				    "thread %d",
				    leader);
		if (fs != R_OK)
			dump_refuse(ctx, tid,
				    "it has a working directory of its own, apart from "
				    "that of thread %d",
				    leader);
	}
	return R_OK;
}

struct sorter {
	struct dump_task **tasks;
	size_t n;
	int type;
};

/* A task that shares memory with no other shares no signal handlers either: the kernel lets nobody
 * share these without that, and an execve ends both. */
static bool is_alone(const struct dump_ctx *ctx, const struct dump_task *t, int type)
{
	if (type != KCMP_SIGHAND)
		return false;
	for (size_t i = 0; i < ctx->n_tasks; i++)
		if (&ctx->tasks[i] != t && !ctx->tasks[i].task->zombie &&
		    ctx->tasks[i].ids.vm_id == t->ids.vm_id)
			return false;
	return true;
}

/* kcmp orders the objects, so each task finds its place among those before it in log n steps.
 * R_OK: the object of task `*place`; R_NOT_FOUND: belongs before it. */
static int find(const struct sorter *sorter, const struct dump_task *t, size_t *place)
{
	size_t low = 0, high = sorter->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		long order = syscall(SYS_kcmp, t->task->pid, sorter->tasks[mid]->task->pid,
				     sorter->type, 0, 0);

		*place = mid;
		if (order < 0) {
			warn_errno("kcmp of pids %d and %d", t->task->pid,
				   sorter->tasks[mid]->task->pid);
			return R_FAILED;
		}
		if (order == 0)
			return R_OK;
		if (order == 1)
			high = mid;
		else
			low = mid + 1;
	}
	*place = low;
	return R_NOT_FOUND;
}

static uint32_t *id_of(struct dump_task *t, int type)
{
	if (type == KCMP_VM)
		return &t->ids.vm_id;
	if (type == KCMP_FS)
		return &t->ids.fs_id;
	return &t->ids.sighand_id;
}

static int number(struct dump_ctx *ctx, int type, const char *what)
{
	struct sorter sorter = { .type = type };
	uint32_t next = 1;
	int rc = R_OK;

	sorter.tasks = calloc(ctx->tree->task_count, sizeof(*sorter.tasks));
	if (!sorter.tasks) {
		warn("no memory to compare tasks");
		return R_FAILED;
	}
	for (size_t i = 0; i < ctx->tree->task_count; i++) {
		struct dump_task *t = &ctx->tasks[i];
		size_t place = 0;

		if (t->task->zombie)
			continue;
		if (is_alone(ctx, t, type)) {
			*id_of(t, type) = next++;
			continue;
		}
		rc = find(&sorter, t, &place);
		if (rc == R_FAILED)
			break;
		if (rc == R_OK) {
			*id_of(t, type) = *id_of(sorter.tasks[place], type);
			if (what)
				dump_refuse(ctx, t->task->pid, "it shares its %s with pid %d", what,
					    sorter.tasks[place]->task->pid);
			continue;
		}
		rc = R_OK;
		*id_of(t, type) = next++;
		for (size_t k = sorter.n++; k > place; k--)
			sorter.tasks[k] = sorter.tasks[k - 1];
		sorter.tasks[place] = t;
	}
	free(sorter.tasks);
	return rc;
}

/* A root that was made by vfork borrows the memory of a parent outside the tree. */
static int check_parent(struct dump_ctx *ctx)
{
	const struct tree_task *root = &ctx->tree->tasks[0];
	long order;

	if (root->zombie || root->ppid <= 1)
		return R_OK;
	order = syscall(SYS_kcmp, root->pid, root->ppid, KCMP_VM, 0, 0);
	if (order == 0)
		dump_refuse(ctx, root->pid,
			    "it shares its memory with its parent, pid %d, which "
			    "is not in the tree",
			    root->ppid);
	return R_OK;
}

/* clone(CLONE_FS) shares with the parent; other ways to share are not made again. */
static void check_shared_fs(struct dump_ctx *ctx)
{
	for (size_t i = 1; i < ctx->tree->task_count; i++) {
		const struct dump_task *t = &ctx->tasks[i];
		bool shared = false, with_parent = false;

		for (size_t k = 0; k < i && !t->task->zombie; k++) {
			const struct dump_task *other = &ctx->tasks[k];

			if (other->task->zombie || other->ids.fs_id != t->ids.fs_id)
				continue;
			shared = true;
			with_parent |= other->task->pid == t->task->ppid;
		}
		if (shared && !with_parent)
			dump_refuse(ctx, t->task->pid,
				    "it shares its working directory with a "
				    "task that is not its parent");
	}
}

/* Was `pid` the last to change a semaphore of that set? */
static bool changed_last(int set, unsigned long count, pid_t pid)
{
	for (unsigned long i = 0; i < count; i++)
		if (semctl(set, (int)i, GETPID) == pid)
			return true;
	return false;
}

/*
 * What semop(2) with SEM_UNDO has noted is carried out at the end of the task and told to nobody.
 * It can be seen whether there is a list for such notes, which every program with threads has had
 * made, and whether the task uses semaphores at all.
 */
static void check_undo(struct dump_ctx *ctx, const struct tree_task *task, const char *sets)
{
	if (syscall(SYS_kcmp, task->pid, getpid(), KCMP_SYSVSEM, 0, 0) <= 0)
		return;
	for (const char *line = strchr(sets, '\n'); line && line[1];
	     line = strchr(line + 1, '\n')) {
		unsigned long count;
		int set;

		if (sscanf(line, "%*d %d %*o %lu", &set, &count) != 2 ||
		    !changed_last(set, count, task->pid))
			continue;
		dump_refuse(ctx, task->pid,
			    "it uses System V semaphores (set %d), perhaps to be undone at its end "
			    "(SEM_UNDO)",
			    set);
		break;
	}
}

static void check_undos(struct dump_ctx *ctx)
{
	char *sets = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, "/proc/sysvipc/sem", 16u << 20, &sets, &len) != R_OK)
		return;
	for (size_t i = 0; i < ctx->tree->task_count; i++)
		if (!ctx->tree->tasks[i].zombie)
			check_undo(ctx, &ctx->tree->tasks[i], sets);
	free(sets);
}

int dump_kobj_ids(struct dump_ctx *ctx)
{
	int rc = check_parent(ctx);

	for (size_t i = 0; rc == R_OK && i < ctx->tree->task_count; i++)
		if (!ctx->tree->tasks[i].zombie)
			rc = check_threads(ctx, &ctx->tree->tasks[i]);
	if (rc == R_OK)
		check_undos(ctx);
	if (rc == R_OK)
		rc = number(ctx, KCMP_VM, "memory");
	if (rc == R_OK)
		rc = number(ctx, KCMP_SIGHAND, "signal handlers");
	if (rc == R_OK)
		rc = number(ctx, KCMP_FS, NULL);
	if (rc == R_OK)
		check_shared_fs(ctx);
	return rc;
}
