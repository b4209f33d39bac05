/* Control groups: which ones the tasks are in, and how these were set up, should they be gone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/cgroupfs.h"
#include "engine/proc/dump.h"
#include "engine/proc/procfs.h"

#define HIERARCHIES_MAX 64
/* Groups below those of the target that are described too, in one take. */
#define BELOW_MAX 4096
/* Deeper nesting than anybody uses, well within our stack. */
#define DEPTH_MAX 64

static bool ends_in(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

/* Files that are no settings: members, orders and counters that a write would reset. */
static bool is_setting(const char *name)
{
	static const char *const others[] = {
		"cgroup.procs",
		"cgroup.threads",
		"tasks",
		"cgroup.kill",
		"cgroup.freeze",
		"freezer.state",
		"cgroup.event_control",
		"memory.reclaim",
		"release_agent",
		".pressure",
		"failcnt",
		"max_usage_in_bytes",
		".peak",
		"force_empty",
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (ends_in(name, others[i]))
			return false;
	return true;
}

/* Makes room for one more pointer in a list that doubles at powers of two. */
static void *append(struct dump_ctx *ctx, void *list, size_t n, void *item)
{
	void **items = list, **more = items;

	if ((n & (n - 1)) == 0) {
		more = dump_alloc(ctx, (n ? 2 * n : 1) * sizeof(*more));
		if (!more)
			return NULL;
		if (n)
			memcpy(more, items, n * sizeof(*more));
	}
	more[n] = item;
	return more;
}

static CgroupPerms *perms_of(struct dump_ctx *ctx, const struct stat *st)
{
	CgroupPerms *perms = dump_alloc(ctx, sizeof(*perms));

	if (!perms)
		return NULL;
	cgroup_perms__init(perms);
	perms->mode = st->st_mode & 07777;
	perms->uid = st->st_uid;
	perms->gid = st->st_gid;
	return perms;
}

/* One file of a group.  What cannot be read (many exist for some states only) is left out. */
static int add_property(struct dump_ctx *ctx, CgroupDirEntry *dir, int fd, const char *name)
{
	bool devices = strcmp(name, "devices.list") == 0;
	CgroupPropEntry *prop;
	struct stat st;
	char *text = NULL;
	void *list;
	size_t len;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
	    (!(st.st_mode & S_IWUSR) && !devices))
		return R_OK;
	if (is_setting(name) && (st.st_mode & S_IRUSR) &&
	    io_read_file(fd, name, CGROUPFS_FILE_BYTES, &text, &len) != R_OK)
		return R_OK;
	prop = dump_alloc(ctx, sizeof(*prop));
	list = append(ctx, dir->properties, dir->n_properties, prop);
	if (!prop || !list) {
		free(text);
		return R_FAILED;
	}
	cgroup_prop_entry__init(prop);
	prop->name = dump_strdup(ctx, name);
	prop->value = dump_strdup(ctx, text ? text : "");
	prop->perms = perms_of(ctx, &st);
	dir->properties = list;
	dir->n_properties++;
	free(text);
	return prop->name && prop->value && prop->perms ? R_OK : R_FAILED;
}

static CgroupDirEntry *add_child(struct dump_ctx *ctx, CgroupDirEntry ***list, size_t *n,
				 const char *name, size_t len)
{
	CgroupDirEntry *dir;
	char *copy;
	void *more;

	for (size_t i = 0; i < *n; i++)
		if (strncmp((*list)[i]->dir_name, name, len) == 0 && !(*list)[i]->dir_name[len])
			return (*list)[i];
	dir = dump_alloc(ctx, sizeof(*dir));
	copy = dump_alloc(ctx, len + 1);
	more = append(ctx, *list, *n, dir);
	if (!dir || !copy || !more)
		return NULL;
	cgroup_dir_entry__init(dir);
	memcpy(copy, name, len);
	dir->dir_name = copy;
	*list = more;
	(*n)++;
	return dir;
}

static int describe(struct dump_ctx *ctx, CgroupDirEntry *dir, const char *folder, unsigned deep);

/* The groups below, which may be the target's as well. */
static int describe_below(struct dump_ctx *ctx, CgroupDirEntry *dir, const char *folder,
			  const char *name, unsigned deep)
{
	char path[4096];
	CgroupDirEntry *child;

	if (++ctx->cgroups_below > BELOW_MAX) {
		if (ctx->cgroups_below == BELOW_MAX + 1)
			note("more than %d control groups lie below those of the target; the rest "
			     "is not kept",
			     BELOW_MAX);
		return R_OK;
	}
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return R_OK;
	child = add_child(ctx, &dir->children, &dir->n_children, name, strlen(name));
	return child ? describe(ctx, child, path, deep + 1) : R_FAILED;
}

/* Fills in one group; with `deep` also what lies below.  One that is gone meanwhile stays empty. */
static int describe(struct dump_ctx *ctx, CgroupDirEntry *dir, const char *folder, unsigned deep)
{
	struct dirent *entry;
	struct stat st;
	int rc = R_OK;
	DIR *files = opendir(folder);

	if (!files)
		return R_OK;
	if (!dir->dir_perms && fstat(dirfd(files), &st) == 0) {
		dir->dir_perms = perms_of(ctx, &st);
		if (!dir->dir_perms)
			rc = R_FAILED;
		while (rc == R_OK && (entry = readdir(files)))
			if (entry->d_type == DT_REG)
				rc = add_property(ctx, dir, dirfd(files), entry->d_name);
	}
	rewinddir(files);
	while (deep && deep < DEPTH_MAX && rc == R_OK && (entry = readdir(files)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			rc = describe_below(ctx, dir, folder, entry->d_name, deep);
	closedir(files);
	return rc;
}

static int add_names(struct dump_ctx *ctx, CgControllerEntry *entry, const char *controllers)
{
	do {
		size_t len = strcspn(controllers, ",");
		char *name = dump_alloc(ctx, len + 1);
		void *more = append(ctx, entry->cnames, entry->n_cnames, name);

		if (!name || !more)
			return R_FAILED;
		memcpy(name, controllers, len);
		entry->cnames = more;
		entry->n_cnames++;
		controllers += len;
	} while (*controllers++ == ',');
	return R_OK;
}

/* The hierarchy in the image, made if it is the first time. */
static CgControllerEntry *hierarchy(struct dump_ctx *ctx, const char *controllers)
{
	CgroupEntry *image = &ctx->cgroups;
	CgControllerEntry *entry;
	void *more;

	for (size_t i = 0; i < image->n_controllers; i++)
		if (cgroupfs_same_names(image->controllers[i]->cnames,
					image->controllers[i]->n_cnames, controllers))
			return image->controllers[i];
	entry = dump_alloc(ctx, sizeof(*entry));
	more = append(ctx, image->controllers, image->n_controllers, entry);
	if (!entry || !more)
		return NULL;
	cg_controller_entry__init(entry);
	if (add_names(ctx, entry, controllers) != R_OK)
		return NULL;
	image->controllers = more;
	image->n_controllers++;
	return entry;
}

/* Describes the group `path`, those above it, and those below it. */
static int keep_group(struct dump_ctx *ctx, const char *controllers, const char *path)
{
	CgControllerEntry *entry = hierarchy(ctx, controllers);
	CgroupDirEntry *dir = NULL;
	struct cgroupfs fs;
	int rc;

	if (!entry)
		return R_FAILED;
	rc = cgroupfs_open(&fs);
	for (size_t at = 0, end; rc == R_OK && path[at] == '/' && path[at + 1]; at = end) {
		char part[4096], folder[4096];

		end = at + 1 + strcspn(path + at + 1, "/");
		snprintf(part, sizeof(part), "%.*s", (int)end, path);
		dir =
		    dir ? add_child(ctx, &dir->children, &dir->n_children, path + at + 1,
				    end - at - 1)
			: add_child(ctx, &entry->dirs, &entry->n_dirs, path + at + 1, end - at - 1);
		if (!dir)
			rc = R_FAILED;
		else if (cgroupfs_folder(&fs, controllers, part, folder, sizeof(folder)))
			rc = describe(ctx, dir, folder, path[end] ? 0 : 1);
	}
	cgroupfs_close(&fs);
	return rc;
}

/* Has the group been described for an earlier task? */
static bool is_kept(const struct dump_ctx *ctx, const char *line)
{
	for (size_t i = 0; i < ctx->n_cgroup_lines; i++)
		if (strcmp(ctx->cgroup_lines[i], line) == 0)
			return true;
	return false;
}

/* Notes one group of a thread: "controllers:path", which is also what is kept in the image. */
static int note_group(struct dump_ctx *ctx, const char *controllers, size_t controllers_len,
		      const char *path, size_t path_len, char **line)
{
	void *more;

	*line = dump_alloc(ctx, controllers_len + path_len + 2);
	if (!*line)
		return R_FAILED;
	sprintf(*line, "%.*s:%.*s", (int)controllers_len, controllers, (int)path_len, path);
	if (is_kept(ctx, *line))
		return R_OK;
	more = append(ctx, ctx->cgroup_lines, ctx->n_cgroup_lines, *line);
	if (!more)
		return R_FAILED;
	ctx->cgroup_lines = more;
	ctx->cgroup_lines[ctx->n_cgroup_lines++] = *line;
	(*line)[controllers_len] = '\0';
	if (keep_group(ctx, *line, *line + controllers_len + 1) != R_OK)
		return R_FAILED;
	(*line)[controllers_len] = ':';
	return R_OK;
}

/* Hierarchies made for a purpose of their own ("name=...") are mounted by whoever made them; out of
 * sight, nothing of them can be kept or entered again. */
static void check_private(struct dump_ctx *ctx, pid_t tid, const char *line)
{
	char controllers[256], folder[4096];
	const char *colon = strchr(line, ':');
	struct cgroupfs fs;

	if (strncmp(line, "name=", 5) != 0 || strncmp(line, "name=systemd:", 13) == 0 ||
	    snprintf(controllers, sizeof(controllers), "%.*s", (int)(colon - line), line) >=
		(int)sizeof(controllers))
		return;
	if (cgroupfs_open(&fs) == R_OK &&
	    !cgroupfs_folder(&fs, controllers, colon + 1, folder, sizeof(folder)))
		dump_refuse(ctx, tid,
			    "it is in control group %s of hierarchy %s, which is not mounted here",
			    colon + 1, controllers);
	cgroupfs_close(&fs);
}

/* The unified hierarchy: one group for all threads of a task, unless they were made a threaded one,
 * which no restore makes again. */
static int unified_group(struct dump_ctx *ctx, struct dump_task *t, pid_t tid, const char *text)
{
	char *path, *line;
	int rc = proc_cgroup_parse(text, &path);

	if (rc != R_OK) {
		warn("pid %d: no memory for the path of its cgroup", tid);
		return R_FAILED;
	}
	if (!path)
		return R_OK;
	if (!t->extra.cgroup) {
		t->extra.cgroup = dump_strdup(ctx, path);
		rc = t->extra.cgroup ? R_OK : R_FAILED;
		if (rc == R_OK && strcmp(path, "/") != 0)
			rc = note_group(ctx, "", 0, path, strlen(path), &line);
	} else if (strcmp(t->extra.cgroup, path) != 0) {
		dump_refuse(ctx, tid, "it is in control group %s, apart from thread %d in %s", path,
			    t->task->pid, t->extra.cgroup);
	}
	free(path);
	return rc;
}

static int thread_groups(struct dump_ctx *ctx, struct dump_task *t, size_t thread)
{
	SnapThreadEntry *extra = t->extras[thread];
	pid_t tid = t->task->threads[thread]->tid;
	const char *at, *controllers, *path;
	size_t controllers_len, path_len;
	char *text;
	int rc = procfs_read(t->task->pid, tid, "cgroup", &text, NULL);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	extra->cgroups = dump_alloc(ctx, HIERARCHIES_MAX * sizeof(*extra->cgroups));
	if (!extra->cgroups)
		rc = R_FAILED;
	at = text;
	while (rc == R_OK && extra->n_cgroups < HIERARCHIES_MAX &&
	       proc_cgroup_next(&at, &controllers, &controllers_len, &path, &path_len)) {
		if (path_len == 1)
			continue;
		rc = note_group(ctx, controllers, controllers_len, path, path_len,
				&extra->cgroups[extra->n_cgroups]);
		if (rc == R_OK)
			check_private(ctx, tid, extra->cgroups[extra->n_cgroups++]);
	}
	if (rc == R_OK)
		rc = unified_group(ctx, t, tid, text);
	free(text);
	return rc;
}

int dump_cgroups(struct dump_ctx *ctx, struct dump_task *t)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < t->task->thread_count; i++)
		rc = thread_groups(ctx, t, i);
	return rc;
}
