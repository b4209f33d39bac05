/* Making control groups again.  A group that is there is left as it is, whoever has set it up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ending.h"
#include "base/io.h"
#include "base/warn.h"
#include "engine/proc/cgroupfs.h"
#include "engine/rebuild/cgroup.h"

struct rebuild_cgroup {
	char *controllers, *path; /* planned */
};

/* The one of the list that the path goes on with; CRIU's have several parts, the topmost none. */
static const CgroupDirEntry *next_of(CgroupDirEntry *const *list, size_t n, const char *path,
				     size_t len)
{
	for (size_t i = 0; i < n; i++) {
		size_t part = strlen(list[i]->dir_name);

		if (part <= len && strncmp(list[i]->dir_name, path, part) == 0 &&
		    (part == len || part == 0 || path[part] == '/'))
			return list[i];
	}
	return NULL;
}

/* The description of the first `len` bytes of a path; NULL if there is none. */
static const CgroupDirEntry *find(const struct rebuild *r, const char *controllers,
				  const char *path, size_t len)
{
	const CgControllerEntry *entry = NULL;
	const CgroupDirEntry *dir;

	for (size_t i = 0; r->cgroups && !entry && i < r->cgroups->n_controllers; i++) {
		CgControllerEntry *one = r->cgroups->controllers[i];

		if (cgroupfs_same_names(one->cnames, one->n_cnames, controllers))
			entry = one;
	}
	if (!entry || len < 2)
		return NULL;
	path++;
	len--;
	dir = next_of(entry->dirs, entry->n_dirs, path, len);
	while (dir) {
		size_t part = strlen(dir->dir_name);

		if (part == len)
			return dir;
		if (part) {
			path += part + 1;
			len -= part + 1;
		}
		dir = next_of(dir->children, dir->n_children, path, len);
	}
	return NULL;
}

/* Without its rights nothing was seen of it when it was taken. */
bool cgroup_known(const struct rebuild *r, const char *controllers, const char *path)
{
	const CgroupDirEntry *dir = find(r, controllers, path, strlen(path));

	return dir && dir->dir_perms;
}

int cgroup_plan(struct rebuild *r, const char *controllers, const char *path)
{
	struct rebuild_cgroup *more, *planned;

	for (size_t i = 0; i < r->n_lost_cgroups; i++)
		if (strcmp(r->lost_cgroups[i].controllers, controllers) == 0 &&
		    strcmp(r->lost_cgroups[i].path, path) == 0)
			return R_OK;
	more = reallocarray(r->lost_cgroups, r->n_lost_cgroups + 1, sizeof(*more));
	if (more) {
		r->lost_cgroups = more;
		planned = &more[r->n_lost_cgroups++];
		planned->controllers = strdup(controllers);
		planned->path = strdup(path);
		if (planned->controllers && planned->path)
			return R_OK;
	}
	warn("out of memory");
	return R_FAILED;
}

/* For a new file there is nothing to be compared with: "". */
static char *read_value(const char *file)
{
	char *text;
	size_t len;

	return io_read_file(AT_FDCWD, file, CGROUPFS_FILE_BYTES, &text, &len) == R_OK ? text
										      : strdup("");
}

/* A file of several lines takes them one by one. */
static int write_lines(const char *file, const char *value, const char *prefix)
{
	while (*value) {
		size_t len = strcspn(value, "\n");
		char line[4096];
		int n = snprintf(line, sizeof(line), "%s%.*s", prefix, (int)len, value);

		if (n >= (int)sizeof(line))
			return R_FAILED;
		if (len && io_write_file(AT_FDCWD, file, line, (size_t)n) != R_OK)
			return R_FAILED;
		value += len + (value[len] == '\n');
	}
	return R_OK;
}

/* "cpu memory" is what is on; each is turned on by "+cpu". */
static int write_controllers(const char *file, const char *value)
{
	while (*value) {
		size_t len = strcspn(value, " \n");
		char word[256];
		int n = snprintf(word, sizeof(word), "+%.*s", (int)len, value);

		if (len && (n >= (int)sizeof(word) ||
			    io_write_file(AT_FDCWD, file, word, (size_t)n) != R_OK))
			return R_FAILED;
		value += len + (value[len] != '\0');
	}
	return R_OK;
}

/* All is forbidden first, then what was allowed is allowed again. */
static int write_devices(const char *folder, const char *value)
{
	char file[4096 + 32];

	snprintf(file, sizeof(file), "%s/devices.deny", folder);
	if (io_write_file(AT_FDCWD, file, "a", 1) != R_OK)
		return R_FAILED;
	snprintf(file, sizeof(file), "%s/devices.allow", folder);
	return write_lines(file, value, "");
}

/* Values of CRIU's have no end of line. */
static bool same_value(const char *a, const char *b)
{
	size_t len = strlen(a), other = strlen(b);

	len -= len && a[len - 1] == '\n';
	other -= other && b[other - 1] == '\n';
	return len == other && memcmp(a, b, len) == 0;
}

/* CRIU's images have these too: members are joined, and a state is none of a group's making. */
static bool is_no_setting(const char *name)
{
	return strcmp(name, "cgroup.procs") == 0 || strcmp(name, "tasks") == 0 ||
	       strcmp(name, "cgroup.threads") == 0 || strcmp(name, "freezer.state") == 0;
}

/* R_FAILED with errno set. */
static int set_value(const char *folder, const CgroupPropEntry *prop)
{
	char file[4096 + 256], *now;
	int rc = R_OK, switch_on;

	if (is_no_setting(prop->name))
		return R_OK;
	snprintf(file, sizeof(file), "%s/%s", folder, prop->name);
	now = read_value(file);
	if (!now)
		return R_FAILED;
	if (!prop->value[0] || same_value(now, prop->value))
		rc = R_OK;
	else if (strcmp(prop->name, "devices.list") == 0)
		rc = write_devices(folder, prop->value);
	else if (strcmp(prop->name, "cgroup.subtree_control") == 0)
		rc = write_controllers(file, prop->value);
	else if (strcmp(prop->name, "memory.oom_control") != 0)
		rc = write_lines(file, prop->value, "");
	else if ((sscanf(prop->value, "oom_kill_disable %d", &switch_on) == 1 ||
		  sscanf(prop->value, "%d", &switch_on) == 1) &&
		 (switch_on != 0) != (strstr(now, "oom_kill_disable 1") != NULL))
		rc = write_lines(file, switch_on ? "1" : "0", "");
	free(now);
	return rc;
}

static void set_rights(const char *path, const CgroupPerms *perms)
{
	struct stat st;

	if (!perms || stat(path, &st))
		return;
	if ((st.st_uid != perms->uid || st.st_gid != perms->gid) &&
	    chown(path, perms->uid, perms->gid))
		warn_errno("%s: its owner", path);
	if ((st.st_mode & 07777) != (perms->mode & 07777) && chmod(path, perms->mode & 07777))
		warn_errno("%s: its mode", path);
}

/* Some settings are refused until another one is made: so a second time. */
static int set_up(const char *folder, const CgroupDirEntry *dir)
{
	char file[4096 + 256];

	/* One on the way to a group of CRIU's images, which do not tell of it. */
	if (!dir)
		return R_OK;
	for (size_t i = 0; i < dir->n_properties; i++)
		set_value(folder, dir->properties[i]);
	for (size_t i = 0; i < dir->n_properties; i++) {
		const CgroupPropEntry *prop = dir->properties[i];

		if (set_value(folder, prop) != R_OK) {
			warn_errno("control group %s was gone and is made again, but %s cannot be "
				   "set to %.*s",
				   folder, prop->name, (int)strcspn(prop->value, "\n"),
				   prop->value);
			return R_FAILED;
		}
		snprintf(file, sizeof(file), "%s/%s", folder, prop->name);
		set_rights(file, prop->perms);
	}
	set_rights(folder, dir->dir_perms);
	return R_OK;
}

static int remember(struct rebuild *r, const char *folder)
{
	char **more = reallocarray(r->made_cgroups, r->n_made_cgroups + 1, sizeof(*more)), *copy;

	if (more)
		r->made_cgroups = more;
	copy = more ? strdup(folder) : NULL;
	if (!copy) {
		warn("out of memory");
		return R_FAILED;
	}
	r->made_cgroups[r->n_made_cgroups++] = copy;
	return R_OK;
}

/* One group that is not there. */
static int make_one(struct rebuild *r, const char *folder, const CgroupDirEntry *dir)
{
	if (mkdir(folder, 0755)) {
		warn_errno("control group %s was gone and cannot be made again", folder);
		return R_FAILED;
	}
	if (remember(r, folder) != R_OK) {
		rmdir(folder);
		return R_FAILED;
	}
	return set_up(folder, dir);
}

static int make_below(struct rebuild *r, const char *folder, const CgroupDirEntry *dir)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < dir->n_children; i++) {
		const CgroupDirEntry *child = dir->children[i];
		char path[4096];

		if (strchr(child->dir_name, '/') || strcmp(child->dir_name, "..") == 0 ||
		    snprintf(path, sizeof(path), "%s/%s", folder, child->dir_name) >=
			(int)sizeof(path))
			continue;
		/* The way down to another group of the target may have been made already. */
		if (access(path, F_OK) != 0)
			rc = make_one(r, path, child);
		if (rc == R_OK)
			rc = make_below(r, path, child);
	}
	return rc;
}

/* What the groups below need is turned on in one that is there, if it was when it was taken. */
static void turn_on(const char *folder, const CgroupDirEntry *dir)
{
	for (size_t i = 0; dir && i < dir->n_properties; i++)
		if (strcmp(dir->properties[i]->name, "cgroup.subtree_control") == 0)
			set_value(folder, dir->properties[i]);
}

static int make_group(struct rebuild *r, const struct cgroupfs *fs, const char *controllers,
		      const char *path)
{
	const CgroupDirEntry *dir = NULL;
	char folder[4096];
	int rc = R_OK;

	for (size_t at = 0, end; rc == R_OK && path[at] == '/' && path[at + 1]; at = end) {
		char part[4096];

		end = at + 1 + strcspn(path + at + 1, "/");
		dir = find(r, controllers, path, end);
		if (snprintf(part, sizeof(part), "%.*s", (int)end, path) >= (int)sizeof(part))
			return R_DAMAGED;
		if (!cgroupfs_folder(fs, controllers, part, folder, sizeof(folder)))
			continue;
		if (access(folder, F_OK) == 0)
			turn_on(folder, dir);
		else
			rc = make_one(r, folder, dir);
	}
	if (rc == R_OK && dir)
		rc = make_below(r, folder, dir);
	if (rc == R_OK)
		note("control group %s of %s was gone; it is made again as it was", path,
		     *controllers ? controllers : "the unified hierarchy");
	return rc;
}

int cgroup_make(struct rebuild *r)
{
	struct cgroupfs fs;
	int rc;

	if (r->n_lost_cgroups == 0)
		return R_OK;
	/* A group that stays is taken to be as it should be by the next restore. */
	ending_hold();
	r->holds_ending = true;
	rc = cgroupfs_open(&fs);
	for (size_t i = 0; rc == R_OK && i < r->n_lost_cgroups; i++)
		rc = make_group(r, &fs, r->lost_cgroups[i].controllers, r->lost_cgroups[i].path);
	cgroupfs_close(&fs);
	return rc;
}

void cgroup_end(struct rebuild *r, bool undo)
{
	for (size_t i = r->n_made_cgroups; i-- > 0;) {
		/* The last tasks may be on their way out. */
		for (int tries = 0; undo && rmdir(r->made_cgroups[i]) && errno == EBUSY; tries++) {
			if (tries == 100) {
				warn_errno("control group %s, made for this restore",
					   r->made_cgroups[i]);
				break;
			}
			usleep(10000);
		}
		free(r->made_cgroups[i]);
	}
	for (size_t i = 0; i < r->n_lost_cgroups; i++) {
		free(r->lost_cgroups[i].controllers);
		free(r->lost_cgroups[i].path);
	}
	free(r->made_cgroups);
	free(r->lost_cgroups);
	r->made_cgroups = NULL;
	r->lost_cgroups = NULL;
	r->n_made_cgroups = r->n_lost_cgroups = 0;
	if (r->holds_ending)
		ending_allow();
	r->holds_ending = false;
}
