#include "engine/proc/cgroupfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define MOUNTS_MAX_BYTES (4u << 20)

int cgroupfs_open(struct cgroupfs *fs)
{
	size_t len;

	fs->mounts = NULL;
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX_BYTES, &fs->mounts, &len) ==
	    R_OK)
		return R_OK;
	warn_errno("/proc/self/mountinfo");
	return R_FAILED;
}

void cgroupfs_close(struct cgroupfs *fs)
{
	free(fs->mounts);
	fs->mounts = NULL;
}

/* Is every one of the words of `all` ("cpu,cpuacct") a word of `options` ("rw,cpu,cpuacct")? */
static bool has_all(const char *options, const char *all)
{
	while (*all) {
		size_t len = strcspn(all, ",");
		const char *at = options;
		bool found = false;

		while (*at && !found) {
			size_t n = strcspn(at, ",");

			found = n == len && memcmp(at, all, len) == 0;
			at += n + (at[n] == ',');
		}
		if (!found)
			return false;
		all += len + (all[len] == ',');
	}
	return true;
}

/* A space and the like stand as \040 in the list of mounts. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		unsigned int code;

		if (text[0] == '\\' && sscanf(text + 1, "%3o", &code) == 1 && code < 256) {
			*to++ = (char)code;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* One line of the list of mounts; `top` is the group that is seen at `where`. */
static bool is_hierarchy(const char *line, const char *controllers, char top[256], char where[4096])
{
	char text[8192], kind[16], options[1024];
	size_t len = strcspn(line, "\n");
	const char *rest;

	if (len >= sizeof(text))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	rest = strstr(text, " - cgroup");
	if (!rest || sscanf(rest, " - %15s %*s %1023s", kind, options) != 2 ||
	    sscanf(text, "%*d %*d %*s %255s %4095s", top, where) != 2)
		return false;
	unescape(top);
	unescape(where);
	if (*controllers == '\0')
		return strcmp(kind, "cgroup2") == 0;
	return strcmp(kind, "cgroup") == 0 && has_all(options, controllers);
}

bool cgroupfs_folder(const struct cgroupfs *fs, const char *controllers, const char *path,
		     char *folder, size_t room)
{
	const char *line = fs->mounts;

	while (line && *line) {
		char top[256], where[4096];

		if (is_hierarchy(line, controllers, top, where)) {
			size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);

			if (strncmp(path, top, len) == 0 && (path[len] == '/' || !path[len]))
				return snprintf(folder, room, "%s%s", where, path + len) <
				       (int)room;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

bool cgroupfs_same_names(char *const *names, size_t n, const char *controllers)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(controllers, ",");

		if (strlen(names[i]) != len || memcmp(names[i], controllers, len) != 0)
			return false;
		controllers += len;
		if (i + 1 < n && *controllers++ != ',')
			return false;
	}
	return *controllers == '\0';
}
