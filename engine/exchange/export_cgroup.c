/*
 * Control groups as CRIU has them: sets of one group of every hierarchy, one set for each thread.
 * Hierarchies in which all threads are where this process is are left out, as CRIU leaves out what
 * its tasks share with itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_files.h"
#include "engine/image/image.h"
#include "engine/proc/cgroupfs.h"
#include "engine/proc/procfs.h"

/* The set of whoever restores; what is in it is not moved. */
#define OWN_SET 1

struct thread {
	uint32_t tid;
	size_t leader; /* index of the first thread of its task */
	const SnapTaskEntry *task;
	SnapThreadEntry *extra;
	uint32_t set;
};

struct export_cgroups {
	struct thread *threads;
	size_t n, room;
	char **hierarchies; /* "cpu,cpuacct"; "" is the unified one */
	size_t n_hierarchies;
	uint32_t sets;
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

static int add_hierarchy(struct export_cgroups *c, const char *controllers, size_t len)
{
	char **more;

	for (size_t i = 0; i < c->n_hierarchies; i++)
		if (strncmp(c->hierarchies[i], controllers, len) == 0 && !c->hierarchies[i][len])
			return R_OK;
	more = reallocarray(c->hierarchies, c->n_hierarchies + 1, sizeof(*more));
	if (!more)
		return out_of_memory();
	c->hierarchies = more;
	more[c->n_hierarchies] = strndup(controllers, len);
	return more[c->n_hierarchies] ? (c->n_hierarchies++, R_OK) : out_of_memory();
}

/* Where a thread is; what is not told is the topmost group. */
static const char *group_of(const struct thread *th, const char *controllers)
{
	size_t len = strlen(controllers);

	if (!len)
		return th->task && th->task->cgroup ? th->task->cgroup : "/";
	for (size_t i = 0; i < th->extra->n_cgroups; i++)
		if (strncmp(th->extra->cgroups[i], controllers, len) == 0 &&
		    th->extra->cgroups[i][len] == ':')
			return th->extra->cgroups[i] + len + 1;
	return "/";
}

static int add_thread(struct export_dir *ex, uint32_t tid, const SnapTaskEntry *task, size_t leader)
{
	struct export_cgroups *c = ex->cgroups;
	ProtobufCMessage *message;
	SnapThreadEntry *extra;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "snap-thread-%u", tid);
	rc = export_read_one(ex, IMAGE_SNAP_THREAD, name, &message);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 16;
		struct thread *more = reallocarray(c->threads, room, sizeof(*more));

		if (!more) {
			image_free_message(message);
			return out_of_memory();
		}
		c->threads = more;
		c->room = room;
	}
	extra = (SnapThreadEntry *)message;
	c->threads[c->n++] =
	    (struct thread){ .tid = tid, .leader = leader, .task = task, .extra = extra };
	for (size_t i = 0; rc == R_OK && i < extra->n_cgroups; i++)
		rc = add_hierarchy(c, extra->cgroups[i], strcspn(extra->cgroups[i], ":"));
	return rc;
}

static int add_task(struct export_dir *ex, const PstreeEntry *entry)
{
	const SnapTaskEntry *task;
	ProtobufCMessage *message;
	size_t leader = ex->cgroups->n;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "snap-task-%u", entry->pid);
	rc = export_read_one(ex, IMAGE_SNAP_TASK, name, &message);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	task = (const SnapTaskEntry *)message;
	if (task->cgroup)
		rc = add_hierarchy(ex->cgroups, "", 0);
	for (size_t i = 0; rc == R_OK && i < entry->n_threads; i++)
		rc = add_thread(ex, entry->threads[i], task, leader);
	/* A zombie has no thread to hold it. */
	if (ex->cgroups->n == leader)
		image_free_message(message);
	return rc;
}

static int add_tasks(struct export_dir *ex)
{
	struct entries tasks = { 0 };
	int rc = entries_read(ex, IMAGE_PSTREE, "pstree", &tasks);

	for (size_t i = 0; rc == R_OK && i < tasks.n; i++)
		rc = add_task(ex, (const PstreeEntry *)tasks.list[i]);
	entries_free(&tasks);
	return rc;
}

/* Is everyone in the group of this hierarchy that this process, whose groups are `own`, is in? */
static bool is_shared(const struct export_cgroups *c, const char *controllers, const char *own)
{
	const char *at = own, *found, *path;
	size_t found_len, path_len;
	char *unified = NULL, *here = NULL;
	bool shared = true;

	if (!*controllers) {
		if (proc_cgroup_parse(own, &unified) == R_OK && unified)
			here = unified;
	} else {
		while (!here && proc_cgroup_next(&at, &found, &found_len, &path, &path_len))
			if (strlen(controllers) == found_len &&
			    memcmp(controllers, found, found_len) == 0)
				here = strndup(path, path_len);
	}
	for (size_t i = 0; shared && i < c->n; i++)
		shared = strcmp(group_of(&c->threads[i], controllers), here ? here : "/") == 0;
	free(here);
	return shared;
}

static bool same_groups(const struct export_cgroups *c, const struct thread *a,
			const struct thread *b)
{
	for (size_t i = 0; i < c->n_hierarchies; i++)
		if (strcmp(group_of(a, c->hierarchies[i]), group_of(b, c->hierarchies[i])) != 0)
			return false;
	return true;
}

static void number_sets(struct export_cgroups *c)
{
	c->sets = OWN_SET;
	for (size_t i = 0; i < c->n; i++) {
		for (size_t k = 0; !c->threads[i].set && k < i; k++)
			if (same_groups(c, &c->threads[i], &c->threads[k]))
				c->threads[i].set = c->threads[k].set;
		if (!c->threads[i].set)
			c->threads[i].set = ++c->sets;
	}
}

int export_cgroups_begin(struct export_dir *ex)
{
	struct export_cgroups *c = ex->cgroups = calloc(1, sizeof(*ex->cgroups));
	char *own = NULL;
	size_t kept = 0;
	int rc = c ? add_tasks(ex) : out_of_memory();

	if (rc == R_OK && procfs_read(getpid(), 0, "cgroup", &own, NULL) != R_OK)
		own = NULL;
	for (size_t i = 0; rc == R_OK && i < c->n_hierarchies; i++) {
		if (is_shared(c, c->hierarchies[i], own ? own : ""))
			free(c->hierarchies[i]);
		else
			c->hierarchies[kept++] = c->hierarchies[i];
	}
	if (rc == R_OK) {
		c->n_hierarchies = kept;
		if (kept)
			number_sets(c);
	}
	free(own);
	return rc;
}

void export_cgroups_end(struct export_dir *ex)
{
	struct export_cgroups *c = ex->cgroups;

	for (size_t i = 0; c && i < c->n; i++) {
		if (c->threads[i].leader == i)
			image_free_message((ProtobufCMessage *)&c->threads[i].task->base);
		image_free_message(&c->threads[i].extra->base);
	}
	for (size_t i = 0; c && i < c->n_hierarchies; i++)
		free(c->hierarchies[i]);
	if (c) {
		free(c->hierarchies);
		free(c->threads);
	}
	free(c);
	ex->cgroups = NULL;
}

uint32_t export_cgroup_set(const struct export_dir *ex, uint32_t tid)
{
	for (size_t i = 0; ex->cgroups && i < ex->cgroups->n; i++)
		if (ex->cgroups->threads[i].tid == tid)
			return ex->cgroups->threads[i].set;
	return 0;
}

uint32_t export_cgroup_root_set(const struct export_dir *ex)
{
	return ex->cgroups && ex->cgroups->sets ? OWN_SET : 0;
}

/* Do threads of one task part in this hierarchy? */
static bool is_threaded(const struct export_cgroups *c, const char *controllers)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(group_of(&c->threads[i], controllers),
			   group_of(&c->threads[c->threads[i].leader], controllers)) != 0)
			return true;
	return false;
}

/* NULL: out of memory.  The names are those in `controllers`, which is cut up. */
static char **split_names(char *controllers, size_t *n)
{
	char **names = NULL, *save = controllers;

	*n = 0;
	do {
		char **more = reallocarray(names, *n + 1, sizeof(*more));

		if (!more) {
			free(names);
			return NULL;
		}
		names = more;
		names[(*n)++] = strsep(&save, ",");
	} while (save);
	return names;
}

/* The hierarchy number `i`, with the folders that `described` tells of. */
static int fill_controller(const struct export_cgroups *c, size_t i, const CgroupEntry *described,
			   CgControllerEntry *entry, char **spare)
{
	cg_controller_entry__init(entry);
	entry->has_is_threaded = true;
	entry->is_threaded = is_threaded(c, c->hierarchies[i]);
	for (size_t k = 0; described && k < described->n_controllers; k++) {
		const CgControllerEntry *one = described->controllers[k];

		if (!cgroupfs_same_names(one->cnames, one->n_cnames, c->hierarchies[i]))
			continue;
		entry->dirs = one->dirs;
		entry->n_dirs = one->n_dirs;
		for (size_t d = 0; d < one->n_dirs; d++)
			export_cgroup_dir(one->dirs[d]);
	}
	*spare = strdup(c->hierarchies[i]);
	entry->cnames = *spare ? split_names(*spare, &entry->n_cnames) : NULL;
	return entry->cnames ? R_OK : out_of_memory();
}

static int fill_controllers(const struct export_cgroups *c, const CgroupEntry *described,
			    CgroupEntry *out, CgControllerEntry *entries, char **spares)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < c->n_hierarchies; i++) {
		rc = fill_controller(c, i, described, &entries[i], &spares[i]);
		out->controllers[out->n_controllers++] = &entries[i];
	}
	return rc;
}

/* One set, of the first thread that has its number. */
static void fill_set(const struct export_cgroups *c, const struct thread *th, CgSetEntry *set,
		     CgMemberEntry *members, CgMemberEntry **list)
{
	cg_set_entry__init(set);
	set->id = th->set;
	set->ctls = list;
	for (size_t i = 0; i < c->n_hierarchies; i++) {
		cg_member_entry__init(&members[i]);
		members[i].name = c->hierarchies[i];
		members[i].path = (char *)group_of(th, c->hierarchies[i]);
		list[set->n_ctls++] = &members[i];
	}
}

static int write_image(struct export_dir *ex, const CgroupEntry *entry)
{
	struct image_writer writer;

	image_writer_init(&writer, IMAGE_CGROUP);
	image_add(&writer, &entry->base);
	return export_image(ex, "cgroup.img", &writer);
}

static int write_sets(struct export_dir *ex, CgroupEntry *out)
{
	const struct export_cgroups *c = ex->cgroups;
	size_t n = c->sets - OWN_SET, h = c->n_hierarchies;
	CgSetEntry *sets = calloc(n, sizeof(*sets)), **list = calloc(n, sizeof(*list));
	CgMemberEntry *members = calloc(n * h, sizeof(*members));
	CgMemberEntry **lists = calloc(n * h, sizeof(*lists));
	int rc = R_FAILED;

	if (sets && list && members && lists) {
		for (size_t i = 0; i < c->n; i++) {
			if (c->threads[i].set != OWN_SET + 1 + out->n_sets)
				continue;
			list[out->n_sets] = &sets[out->n_sets];
			fill_set(c, &c->threads[i], &sets[out->n_sets], &members[out->n_sets * h],
				 &lists[out->n_sets * h]);
			out->n_sets++;
		}
		out->sets = list;
		rc = write_image(ex, out);
	} else {
		out_of_memory();
	}
	free(sets);
	free(list);
	free(members);
	free(lists);
	return rc;
}

int export_cgroups(struct export_dir *ex)
{
	const struct export_cgroups *c = ex->cgroups;
	CgroupEntry out = CGROUP_ENTRY__INIT;
	ProtobufCMessage *described = NULL;
	CgControllerEntry *entries;
	char **spares;
	int rc;

	if (!c || !c->sets)
		return R_OK;
	rc = export_read_one(ex, IMAGE_CGROUP, "cgroup", &described);
	if (rc != R_OK && rc != R_NOT_FOUND)
		return rc;
	if (rc == R_NOT_FOUND)
		described = NULL;
	entries = calloc(c->n_hierarchies, sizeof(*entries));
	spares = calloc(c->n_hierarchies, sizeof(*spares));
	out.controllers = calloc(c->n_hierarchies, sizeof(*out.controllers));
	if (entries && spares && out.controllers)
		rc = fill_controllers(c, (CgroupEntry *)described, &out, entries, spares);
	else
		rc = out_of_memory();
	if (rc == R_OK)
		rc = write_sets(ex, &out);
	for (size_t i = 0; spares && i < c->n_hierarchies; i++) {
		free(spares[i]);
		free(entries ? entries[i].cnames : NULL);
	}
	free(spares);
	free(entries);
	free(out.controllers);
	if (described)
		image_free_message(described);
	return rc;
}
