#include "cli/target.h"

#include "base/boot_id.h"
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/options.h"
#include "engine/proc/stat.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "targets"
#define RECORD_BYTES_MAX 4096
#define HEX_BYTES (2 * sizeof(((struct target *)0)->boot_id) + 1)

int target_of_pid(pid_t pid, struct target *target)
{
	struct proc_stat stat;
	int result;

	result = proc_stat_read(pid, 0, &stat);
	if (result != R_OK)
		return result;
	if (stat.state == 'Z' || stat.state == 'X')
		return R_NOT_FOUND;
	target->pid = pid;
	target->start = stat.start_time;
	return boot_id_read(target->boot_id);
}

bool target_alive(const struct target *target)
{
	struct target now;

	return target_of_pid(target->pid, &now) == R_OK && now.start == target->start &&
	       !memcmp(now.boot_id, target->boot_id, sizeof(now.boot_id));
}

static int parse_record(const char *text, size_t len, struct target *target)
{
	json_t *record = json_loadb(text, len, 0, NULL);
	json_int_t pid, start;
	const char *boot;
	int result = R_NOT_FOUND;

	if (json_unpack(record, "{s:I, s:I, s:s}", "pid", &pid, "start", &start, "boot_id",
			&boot) == 0 &&
	    pid > 0 && pid <= 1 << 22 && start >= 0 && boot_id_parse(boot, target->boot_id)) {
		target->pid = (pid_t)pid;
		target->start = (uint64_t)start;
		result = R_OK;
	}
	json_decref(record);
	return result;
}

int target_load(const char *store_dir, const char *lineage, struct target *target)
{
	char *path, *text;
	size_t len;
	int result;

	if (asprintf(&path, "%s/" FOLDER "/%s", store_dir, lineage) < 0) {
		warn("out of memory");
		return R_FAILED;
	}
	result = io_read_file(AT_FDCWD, path, RECORD_BYTES_MAX, &text, &len);
	if (result == R_OK) {
		result = parse_record(text, len, target);
		free(text);
	} else if (errno == ENOENT || errno == ENOTDIR) {
		result = R_NOT_FOUND;
	} else {
		warn_errno("cannot read %s", path);
	}
	free(path);
	return result;
}

int target_save(const char *store_dir, const char *lineage, const struct target *target)
{
	char boot[HEX_BYTES], text[256];
	int store, folder = -1, len, result = R_FAILED;
	size_t i;

	for (i = 0; i < sizeof(target->boot_id); i++)
		snprintf(boot + 2 * i, 3, "%02x", target->boot_id[i]);
	len =
	    snprintf(text, sizeof(text), "{ \"pid\": %d, \"start\": %llu, \"boot_id\": \"%s\" }\n",
		     target->pid, (unsigned long long)target->start, boot);
	store = open(store_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (store >= 0 && (mkdirat(store, FOLDER, 0700) == 0 || errno == EEXIST))
		folder = openat(store, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder >= 0)
		result = io_replace_file_for_now(folder, lineage, text, (size_t)len, 0600);
	if (result != R_OK)
		warn_errno("cannot write %s/" FOLDER "/%s", store_dir, lineage);
	if (folder >= 0)
		close(folder);
	if (store >= 0)
		close(store);
	return result;
}

void target_remove(const char *store_dir, const char *lineage)
{
	char *path;

	if (asprintf(&path, "%s/" FOLDER "/%s", store_dir, lineage) < 0)
		return;
	if (unlink(path) < 0 && errno != ENOENT)
		warn_errno("cannot remove %s", path);
	free(path);
}

static bool same(const struct target *a, const struct target *b)
{
	return a->pid == b->pid && a->start == b->start &&
	       !memcmp(a->boot_id, b->boot_id, sizeof(a->boot_id));
}

/* Calls `fn` for each lineage whose recorded target is `target`, until it returns true, which is
 * then the result. */
static bool each_lineage_of(const char *store_dir, const struct target *target,
			    bool (*fn)(const char *lineage, void *arg), void *arg)
{
	struct dirent *entry;
	bool stop = false;
	char *path;
	DIR *dir;

	if (asprintf(&path, "%s/" FOLDER, store_dir) < 0)
		return false;
	dir = opendir(path);
	free(path);
	if (!dir)
		return false;
	while (!stop && (entry = readdir(dir))) {
		struct target recorded;

		if (lineage_name_valid(entry->d_name) &&
		    target_load(store_dir, entry->d_name, &recorded) == R_OK &&
		    same(&recorded, target))
			stop = fn(entry->d_name, arg);
	}
	closedir(dir);
	return stop;
}

struct following {
	const char *store_dir;
	const struct target *now;
};

static bool follow(const char *lineage, void *arg)
{
	const struct following *f = arg;

	target_save(f->store_dir, lineage, f->now);
	return false;
}

void target_follow(const char *store_dir, const struct target *before, const struct target *now)
{
	struct following f = { store_dir, now };

	each_lineage_of(store_dir, before, follow, &f);
}

static bool copy_name(const char *lineage, void *arg)
{
	strcpy(arg, lineage);
	return true;
}

bool target_lineage(const char *store_dir, const struct target *target, char name[LINEAGE_NAME_MAX])
{
	return each_lineage_of(store_dir, target, copy_name, name);
}
