/* The groups the threads were in: found or planned, then joined. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/warn.h"
#include "engine/proc/cgroupfs.h"
#include "engine/proc/procfs.h"
#include "engine/rebuild/cgroup.h"

/* "controllers:path" in two; false if it is not that. */
static bool split(const char *line, char controllers[256], const char **path)
{
	const char *colon = strchr(line, ':');

	if (!colon || colon[1] != '/' || colon - line >= 256)
		return false;
	memcpy(controllers, line, (size_t)(colon - line));
	controllers[colon - line] = '\0';
	*path = colon + 1;
	return true;
}

/* Is a thread whose /proc/PID/cgroup is `now` in that group?  "" is the unified hierarchy. */
static bool is_there(const char *now, const char *wanted_controllers, const char *wanted)
{
	const char *controllers, *path;
	size_t controllers_len, path_len;
	bool there;
	char *unified;

	if (!*wanted_controllers) {
		if (proc_cgroup_parse(now, &unified) != R_OK)
			return false;
		there = unified && strcmp(unified, wanted) == 0;
		free(unified);
		return there;
	}
	while (proc_cgroup_next(&now, &controllers, &controllers_len, &path, &path_len))
		if (strlen(wanted) == path_len && memcmp(wanted, path, path_len) == 0 &&
		    strlen(wanted_controllers) == controllers_len &&
		    memcmp(wanted_controllers, controllers, controllers_len) == 0)
			return true;
	return false;
}

/* The groups of a thread as CRIU's images have them; NULL: those CRIU itself was in. */
static const CgSetEntry *find_set(const struct rebuild_thread *th)
{
	const CgroupEntry *all = th->task->r->cgroups;
	const ThreadCoreEntry *thread = th->core ? th->core->thread_core : NULL;
	const TaskCoreEntry *task = th->core ? th->core->tc : NULL;
	uint32_t id = thread && thread->has_cg_set ? thread->cg_set
		      : task && task->has_cg_set   ? task->cg_set
						   : 0;

	for (size_t i = 0; all && id && i < all->n_sets; i++)
		if (all->sets[i]->id == id)
			return all->sets[i];
	return NULL;
}

static int each_of_set(const struct rebuild_thread *th,
		       int (*fn)(const struct rebuild_thread *th, const char *controllers,
				 const char *path, void *arg),
		       void *arg)
{
	const CgSetEntry *set = find_set(th);
	bool leader = th == &th->task->threads[0];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && set && i < set->n_ctls; i++) {
		const CgMemberEntry *group = set->ctls[i];

		if (group->has_cgns_prefix && group->cgns_prefix) {
			warn("task %d: was in a cgroup namespace of its own, which is not "
			     "supported",
			     th->tid);
			return R_UNSUPPORTED;
		}
		if (group->path[0] == '/' && (leader || *group->name))
			rc = fn(th, group->name, group->path, arg);
	}
	return rc;
}

/* Calls `fn` for each group of each thread until it gives anything but R_OK. */
static int each_group(const struct rebuild_thread *th,
		      int (*fn)(const struct rebuild_thread *th, const char *controllers,
				const char *path, void *arg),
		      void *arg)
{
	const SnapTaskEntry *task = th->task->extra;
	int rc = R_OK;

	if (!task && !th->extra)
		return each_of_set(th, fn, arg);
	if (th == &th->task->threads[0] && task && task->cgroup && task->cgroup[0] == '/')
		rc = fn(th, "", task->cgroup, arg);
	for (size_t i = 0; rc == R_OK && th->extra && i < th->extra->n_cgroups; i++) {
		char controllers[256];
		const char *path;

		if (split(th->extra->cgroups[i], controllers, &path))
			rc = fn(th, controllers, path, arg);
	}
	return rc;
}

static const char *hierarchy_name(const char *controllers)
{
	return *controllers ? controllers : "the unified hierarchy";
}

struct look {
	struct rebuild *r;
	struct cgroupfs fs;
	char *now; /* our own groups, which every task is born into */
};

static bool file_says(const char *folder, const char *name, const char *word)
{
	char file[4096 + 32], *text;
	size_t len;
	bool says;

	snprintf(file, sizeof(file), "%s/%s", folder, name);
	if (io_read_file(AT_FDCWD, file, CGROUPFS_FILE_BYTES, &text, &len) != R_OK)
		return false;
	says = strstr(text, word);
	free(text);
	return says;
}

/* A task that enters one stands still, as in the middle of a call that never ends. */
static bool is_frozen(const char *folder)
{
	return file_says(folder, "cgroup.events", "frozen 1") ||
	       file_says(folder, "freezer.state", "FR"); /* FROZEN, FREEZING */
}

/* A group that is needed: it is there and not frozen, or can be made again. */
static int look_at(const struct rebuild_thread *th, const char *controllers, const char *path,
		   void *arg)
{
	struct look *look = arg;
	char folder[4096];

	if (is_there(look->now, controllers, path))
		return R_OK;
	if (!cgroupfs_folder(&look->fs, controllers, path, folder, sizeof(folder))) {
		warn("task %d: it was in control group %s of %s, which is not mounted here; mount "
		     "it, then restore again",
		     th->tid, path, hierarchy_name(controllers));
		return R_UNSUPPORTED;
	}
	if (access(folder, F_OK) == 0 && !is_frozen(folder))
		return R_OK;
	if (access(folder, F_OK) == 0) {
		warn("task %d: control group %s of %s is frozen; thaw %s, then restore again",
		     th->tid, path, hierarchy_name(controllers), folder);
		return R_UNSUPPORTED;
	}
	if (cgroup_known(look->r, controllers, path))
		return cgroup_plan(look->r, controllers, path);
	warn("task %d: control group %s of %s is gone, and the generation does not tell how it was "
	     "set up; make %s, then restore again",
	     th->tid, path, hierarchy_name(controllers), folder);
	return R_UNSUPPORTED;
}

int cgroup_check(struct rebuild *r)
{
	struct look look = { .r = r };
	int rc = cgroupfs_open(&look.fs);

	if (rc == R_OK)
		rc = procfs_read(getpid(), 0, "cgroup", &look.now, NULL);
	/* A kernel without control groups has tasks of such a kernel only. */
	if (rc == R_NOT_FOUND)
		look.now = strdup("");
	if (rc == R_FAILED || !look.now) {
		cgroupfs_close(&look.fs);
		return R_FAILED;
	}
	rc = R_OK;
	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++)
		for (size_t k = 0; rc == R_OK && k < r->tasks[i]->n_threads; k++)
			rc = each_group(&r->tasks[i]->threads[k], look_at, &look);
	free(look.now);
	cgroupfs_close(&look.fs);
	return rc;
}

static int join(const struct rebuild_thread *th, const char *controllers, const char *path,
		void *arg)
{
	struct look *look = arg;
	char folder[4096], file[4096 + 16], tid[16];

	if (is_there(look->now, controllers, path))
		return R_OK;
	snprintf(tid, sizeof(tid), "%d", th->tid);
	if (cgroupfs_folder(&look->fs, controllers, path, folder, sizeof(folder))) {
		snprintf(file, sizeof(file), "%s/%s", folder,
			 *controllers ? "tasks" : "cgroup.procs");
		if (io_write_file(AT_FDCWD, file, tid, strlen(tid)) == R_OK)
			return R_OK;
	} else {
		errno = ENOENT;
	}
	warn_errno("task %d: cannot enter control group %s of %s", th->tid, path,
		   hierarchy_name(controllers));
	return R_FAILED;
}

int cgroup_join(struct rebuild_thread *th)
{
	struct look look = { .r = th->task->r };
	int rc;

	if (!th->task->extra && !th->extra && !find_set(th))
		return R_OK;
	rc = procfs_read(th->task->pid, th->tid, "cgroup", &look.now, NULL);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = cgroupfs_open(&look.fs);
	if (rc == R_OK)
		rc = each_group(th, join, &look);
	cgroupfs_close(&look.fs);
	free(look.now);
	return rc;
}
