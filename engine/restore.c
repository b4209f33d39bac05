#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "base/warn.h"
#include "engine/image/image.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/files/back.h"
#include "engine/proc/files/restore.h"
#include "engine/rebuild/rebuild.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static bool has_space(const struct rebuild_task *t)
{
	return t->kind == TASK_ALIVE || t->kind == TASK_STOPPED;
}

static int tell_one_mapped(struct rebuild *r, const VmaEntry *vma)
{
	const char *name = fds_restore_path(r->fds, (uint32_t)vma->shmid);

	if (!vma->has_fdflags || vma->status & VMA_STATUS_ANON_SHARED)
		return R_OK;
	fds_restore_mapped(r->fds, (uint32_t)vma->shmid, vma->fdflags);
	if (!name || !(vma->status & VMA_STATUS_FILE_SHARED) ||
	    (vma->fdflags & O_ACCMODE) != O_RDWR)
		return R_OK;
	return files_restore_mapped_shared(r->files, name);
}

/* Mapped files are opened as the mappings want them, and compared knowing of these. */
static int tell_mapped(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		const MmEntry *mm = r->tasks[i]->mm;

		for (size_t k = 0; mm && k < mm->n_vmas; k++) {
			int rc = tell_one_mapped(r, mm->vmas[k]);

			if (rc)
				return rc;
		}
	}
	return R_OK;
}

/* The files: read and checked, nothing opened. */
static int plan_files(struct rebuild *r, const struct restore_options *opts)
{
	int rc = fds_restore_begin(r->view, r->gen.number, &r->fds);

	r->files = files_restore_new(opts->files, opts->difference, opts->arg);
	if (!r->files)
		return R_FAILED;
	if (rc == R_OK && opts->with_files)
		rc = back_plan(r->view, r->gen.number, r->progress, &r->back);
	if (rc == R_OK) {
		files_restore_set_back(r->files, r->back);
		fds_restore_set_files(r->fds, r->files);
		fds_restore_set_progress(r->fds, r->progress);
	}
	if (rc == R_OK)
		fds_restore_set_keys(r->fds, r->store, r->keys);
	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++) {
		bool seen = false;

		if (!has_space(r->tasks[i]))
			continue;
		for (size_t k = 0; k < i; k++)
			seen |= has_space(r->tasks[k]) &&
				r->tasks[k]->files_id == r->tasks[i]->files_id;
		if (!seen)
			rc = fds_restore_table(r->fds, r->tasks[i]->files_id);
	}
	if (rc == R_OK)
		rc = tell_mapped(r);
	if (rc == R_OK)
		rc = fds_restore_check(r->fds);
	files_restore_conclude(r->files);
	return rc;
}

static int describe_for_files(struct rebuild *r)
{
	r->fds_tasks = calloc(r->n_tasks, sizeof(*r->fds_tasks));
	if (!r->fds_tasks) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *t = r->tasks[i];

		if (!has_space(t))
			continue;
		r->fds_tasks[r->n_fds_tasks++] = (struct fds_task){
			.pid = t->pid,
			.files_id = t->files_id,
			.tracee = &t->threads[0].tracee,
			.site = &t->threads[0].site,
		};
	}
	return R_OK;
}

/* The address space of one task, and its descriptors. */
static int rebuild_space(struct rebuild_task *t)
{
	int rc = cgroup_join(&t->threads[0]);

	if (rc == R_OK)
		rc = layout_map(t);
	if (rc == R_OK)
		rc = fill_task(t);
	if (rc == R_OK)
		rc = layout_seal(t);
	if (rc == R_OK)
		rc = mmprops_set(t);
	return rc ? rc : props_folders(t);
}

/* Everything that is neither memory nor files. */
static int rebuild_state(struct rebuild_task *t)
{
	int rc = signals_actions(t);

	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = thread_register(&t->threads[i]);
	if (rc == R_OK)
		rc = timers_make(t);
	if (rc == R_OK)
		rc = props_set(t);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = props_thread(&t->threads[i]);
	for (size_t i = 1; rc == R_OK && i < t->n_threads; i++)
		rc = cgroup_join(&t->threads[i]);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = seccomp_set(&t->threads[i]);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = creds_set(&t->threads[i]);
	for (size_t i = 0; rc == R_OK && i < t->n_threads; i++)
		rc = creds_late(&t->threads[i]);
	return rc;
}

static int each_task(struct rebuild *r, int (*step)(struct rebuild_task *t))
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		int rc;

		if (!has_space(r->tasks[i]))
			continue;
		if (stop_asked(r))
			return R_FAILED;
		rc = step(r->tasks[i]);
		if (rc)
			return rc;
	}
	return R_OK;
}

/* From the first process to the last detach. */
static int build(struct rebuild *r)
{
	int rc = spawn_tree(r);

	if (rc == R_OK)
		rc = group_join_all(r);
	if (rc == R_OK)
		rc = zombies_die(r);
	if (rc == R_OK)
		rc = helpers_leave(r);
	if (rc == R_OK)
		rc = each_task(r, rebuild_space);
	for (size_t i = 0; rc == R_OK && i < r->n_fds_tasks; i++)
		rc = fds_restore_place(r->fds, &r->fds_tasks[i]);
	if (rc == R_OK)
		rc = each_task(r, threads_make);
	if (rc == R_OK)
		rc = fds_restore_finish(r->fds, r->fds_tasks, r->n_fds_tasks);
	if (rc == R_OK)
		rc = each_task(r, rebuild_state);
	if (rc == R_OK)
		rc = launch_prepare(r);
	if (rc == R_OK)
		return launch_all(r);
	spawn_abandon(r);
	return rc;
}

/* Reads and checks; nothing on the machine is touched but, at the end, the target to be replaced.
 */
static int plan(struct rebuild *r, const struct restore_options *opts)
{
	int rc = plan_read(r);

	if (rc == R_OK)
		rc = session_plan(r);
	if (rc == R_OK)
		rc = inherit_plan(r);
	if (rc == R_OK)
		rc = check_environment(r);
	if (rc == R_OK)
		rc = rights_check(r);
	if (rc == R_OK)
		rc = cgroup_check(r);
	if (rc == R_OK)
		rc = plan_files(r, opts);
	if (rc == R_OK)
		rc = opts->replace ? living_prove(r, opts) : R_OK;
	if (rc == R_OK)
		rc = pids_check(r);
	if (rc == R_OK)
		rc = describe_for_files(r);
	if (rc == R_OK)
		rc = scratch_map(r);
	if (rc == R_OK)
		rc = cgroup_make(r);
	if (rc == R_OK && r->living)
		rc = living_replace(r);
	/* Whoever wrote to them is gone, and nobody has opened them yet. */
	if (rc == R_OK && r->back)
		rc = back_put(r->back);
	return rc;
}

/* Waits for the root, which is a child of ours. */
static int wait_root(pid_t root, int *status)
{
	while (waitpid(root, status, 0) < 0)
		if (errno != EINTR) {
			warn_errno("task %d: wait for its end", root);
			return R_FAILED;
		}
	return R_OK;
}

static int restore_in_view(struct rebuild *r, const struct restore_options *opts)
{
	int rc = store_generation(r->view, opts->generation, &r->gen);

	if (rc == R_NOT_FOUND)
		warn("there is no generation %llu; snap ls shows those there are",
		     (unsigned long long)opts->generation);
	if (rc == R_OK)
		rc = plan(r, opts);
	if (rc == R_OK)
		rc = fds_restore_open(r->fds);
	if (rc == R_OK)
		rc = shmem_make(r);
	if (rc == R_OK)
		rc = build(r);
	shmem_close(r);
	if (r->fds)
		fds_restore_end(r->fds);
	if (rc == R_OK)
		back_keep(r->back);
	else if (back_undo(r->back) == R_OK && back_count(r->back))
		note("the files are again what they were before");
	if (rc != R_OK && r->living_ended)
		warn("process %d, which was to be replaced, has been ended already; 'snap restore "
		     "--name %s' brings its newest generation back",
		     r->living, r->gen.lineage);
	files_restore_free(r->files);
	scratch_unmap(r);
	cgroup_end(r, rc != R_OK);
	return rc;
}

int engine_restore(struct store *store, const struct restore_options *opts,
		   struct restore_result *result)
{
	struct rebuild r = {
		.store = store,
		.foreground = opts->foreground,
		.keys = opts->keys,
	};
	uint64_t begun = now_ns();
	int rc;

	stop_begin(&r, opts->progress);
	rc = store_view_open(store, &r.view);
	if (rc)
		return rc;
	rc = restore_in_view(&r, opts);
	if (rc == R_OK) {
		*result = (struct restore_result){
			.generation = r.gen.number,
			.root_pid = r.root->pid,
			.files_back = back_count(r.back),
			.wall_ns = now_ns() - begun,
		};
		detail("%llu pages written", (unsigned long long)r.pages_written);
	}
	/* A view that stayed open as long as the root runs would keep gc from giving back space. */
	store_view_close(r.view);
	free(r.rights.groups);
	free(r.fds_tasks);
	back_free(r.back);
	plan_free(&r);
	if (rc == R_OK && opts->running)
		opts->running(result, opts->arg);
	if (rc == R_OK && opts->foreground)
		rc = wait_root(result->root_pid, &result->status);
	return rc;
}
