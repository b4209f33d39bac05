/* Control groups of version 1: every hierarchy is a file system of its own, mounted anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/warn.h"
#include "engine/proc/procfs.h"
#include "engine/rebuild/rebuild.h"

#define MOUNTS_MAX_BYTES (4u << 20)

/* Is every one of the words of `all` ("cpu,cpuacct") a word of `options` ("rw,cpu,cpuacct")? */
static bool has_all(const char *options, const char *all)
{
	while (*all) {
		size_t len = strcspn(all, ",");
		const char *at = options;
		bool found = false;

		while (*at && !found) {
			size_t n = strcspn(at, ", \n");

			found = n == len && memcmp(at, all, len) == 0;
			at += n + (at[n] == ',');
			if (*at == ' ' || *at == '\n')
				break;
		}
		if (!found)
			return false;
		all += len + (all[len] == ',');
	}
	return true;
}

/* Where the hierarchy of these controllers is mounted with its top visible. */
static bool find_mount(const char *mounts, const char *controllers, char *where, size_t room)
{
	for (const char *line = mounts; line && *line; line = strchr(line, '\n')) {
		const char *kind;
		char top[256], at[4096], options[1024];

		if (*line == '\n')
			line++;
		kind = strstr(line, " - cgroup ");
		if (!kind || kind > line + strcspn(line, "\n"))
			continue;
		if (sscanf(line, "%*d %*d %*s %255s %4095s", top, at) != 2 ||
		    sscanf(kind, " - cgroup %*s %1023s", options) != 1)
			continue;
		if (strcmp(top, "/") == 0 && has_all(options, controllers)) {
			snprintf(where, room, "%s", at);
			return true;
		}
	}
	return false;
}

/* Is the thread in that group already? */
static bool is_there(const char *now, const char *wanted)
{
	const char *controllers, *path;
	size_t controllers_len, path_len;

	while (proc_cgroup_next(&now, &controllers, &controllers_len, &path, &path_len))
		if (strlen(wanted) == controllers_len + 1 + path_len &&
		    memcmp(wanted, controllers, controllers_len) == 0 &&
		    memcmp(wanted + controllers_len + 1, path, path_len) == 0)
			return true;
	return false;
}

static void join(const struct rebuild_thread *th, const char *mounts, const char *wanted)
{
	const char *colon = strchr(wanted, ':');
	char controllers[256], where[4096], path[8192], tid[16];

	if (!colon || snprintf(controllers, sizeof(controllers), "%.*s", (int)(colon - wanted),
			       wanted) >= (int)sizeof(controllers))
		return;
	snprintf(tid, sizeof(tid), "%d", th->tid);
	if (find_mount(mounts, controllers, where, sizeof(where)) &&
	    snprintf(path, sizeof(path), "%s%s/tasks", where, colon + 1) < (int)sizeof(path) &&
	    io_write_file(AT_FDCWD, path, tid, strlen(tid)) == R_OK)
		return;
	note("task %d: control group %s of %s cannot be entered any more; it stays in that of snap",
	     th->tid, colon + 1, controllers);
}

void cgroup_join(const struct rebuild_thread *th)
{
	char *now = NULL, *mounts = NULL;
	size_t len;

	if (!th->extra || th->extra->n_cgroups == 0)
		return;
	if (procfs_read(th->tid, 0, "cgroup", &now, NULL) == R_OK &&
	    io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX_BYTES, &mounts, &len) == R_OK)
		for (size_t i = 0; i < th->extra->n_cgroups; i++)
			if (!is_there(now, th->extra->cgroups[i]))
				join(th, mounts, th->extra->cgroups[i]);
	free(mounts);
	free(now);
}
