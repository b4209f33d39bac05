#include "engine/proc/capture/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/proc/cgroupfs.h"
#include "engine/proc/procfs.h"

/* Processes that the target must still be able to make while there are the clone and, for a moment,
 * the process between. */
#define SPARE_PIDS 16
#define MEMINFO_BYTES 65536
#define MIB (1u << 20)

/* The files of one resource in the two versions of control groups. */
struct resource {
	const char *controller; /* of version 1 */
	const char *limit, *usage;
};

static const struct resource resources[] = {
	{ "memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
	{ "", "memory.max", "memory.current" },
	{ "pids", "pids.max", "pids.current" },
	{ "", "pids.max", "pids.current" },
};

/* A number in a file; false if there is no such file, or it says "max". */
static bool read_number(const char *folder, const char *name, uint64_t *value)
{
	char path[4200], *text, *end;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (io_read_file(AT_FDCWD, path, 4096, &text, &len) != R_OK)
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	end = errno || end == text ? NULL : end;
	free(text);
	return end != NULL;
}

/* From the group of the task up to the top that is mounted here. */
static bool has_room(const struct resource *r, char *folder, size_t top, uint64_t needed,
		     char *reason, size_t room)
{
	for (;;) {
		uint64_t limit, usage;
		char *slash;

		if (read_number(folder, r->limit, &limit) &&
		    read_number(folder, r->usage, &usage) &&
		    (usage > limit || limit - usage < needed)) {
			snprintf(reason, room, "%s of its control group is nearly reached",
				 r->limit);
			return false;
		}
		slash = strrchr(folder, '/');
		if (!slash || (size_t)(slash - folder) < top)
			return true;
		*slash = '\0';
	}
}

static bool groups_allow(const struct cgroupfs *fs, const char *text, const struct resource *r,
			 uint64_t needed, char *reason, size_t room)
{
	char folder[4096], top[4096], path[2048];
	const char *group, *controllers, *at = text;
	size_t group_len, controllers_len;
	char *unified = NULL;
	bool found = false;

	if (*r->controller == '\0') {
		found = proc_cgroup_parse(text, &unified) == R_OK && unified &&
			strlen(unified) < sizeof(path);
		if (found)
			strcpy(path, unified);
		free(unified);
	} else {
		while (!found &&
		       proc_cgroup_next(&at, &controllers, &controllers_len, &group, &group_len)) {
			found = controllers_len == strlen(r->controller) &&
				memcmp(controllers, r->controller, controllers_len) == 0 &&
				group_len < sizeof(path);
			if (found)
				snprintf(path, sizeof(path), "%.*s", (int)group_len, group);
		}
	}
	/* What cannot be seen from here cannot be heeded. */
	if (!found || !cgroupfs_folder(fs, r->controller, path, folder, sizeof(folder)))
		return true;
	if (!cgroupfs_folder(fs, r->controller, "/", top, sizeof(top)))
		return has_room(r, folder, strlen(folder), needed, reason, room);
	return has_room(r, folder, strlen(top) - (top[strlen(top) - 1] == '/'), needed, reason,
			room);
}

static bool machine_allows(uint64_t bytes, char *reason, size_t room)
{
	uint64_t available = UINT64_MAX;
	const char *at;
	char *text;
	size_t len;

	if (io_read_file(AT_FDCWD, "/proc/meminfo", MEMINFO_BYTES, &text, &len) != R_OK)
		return true;
	at = strstr(text, "MemAvailable:");
	if (at)
		available = strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024;
	free(text);
	if (available >= bytes)
		return true;
	snprintf(reason, room, "only %" PRIu64 " MiB of memory are free", available / MIB);
	return false;
}

bool limits_allow_clone(pid_t pid, uint64_t bytes, char *reason, size_t room)
{
	struct cgroupfs fs;
	bool allowed;
	char *text;

	if (!machine_allows(bytes, reason, room))
		return false;
	if (procfs_read(pid, 0, "cgroup", &text, NULL) != R_OK) {
		snprintf(reason, room, "its control groups cannot be read");
		return false;
	}
	allowed = cgroupfs_open(&fs) == R_OK;
	if (!allowed)
		snprintf(reason, room, "what is mounted cannot be read");
	for (size_t i = 0; allowed && i < sizeof(resources) / sizeof(resources[0]); i++)
		allowed = groups_allow(&fs, text, &resources[i],
				       strncmp(resources[i].limit, "pids", 4) ? bytes : SPARE_PIDS,
				       reason, room);
	cgroupfs_close(&fs);
	free(text);
	return allowed;
}
