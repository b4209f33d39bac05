#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/procfs.h"

int dump_limits(struct dump_ctx *ctx, const struct dump_task *t, TaskCoreEntry *core)
{
	TaskRlimitsEntry *all = dump_alloc(ctx, sizeof(*all));
	struct proc_limits limits;
	char *text;
	int rc;

	if (!all)
		return R_FAILED;
	task_rlimits_entry__init(all);
	all->rlimits = dump_alloc(ctx, PROC_LIMITS * sizeof(*all->rlimits));
	if (!all->rlimits)
		return R_FAILED;
	rc = procfs_read(t->task->pid, 0, "limits", &text, NULL);
	if (rc != R_OK)
		return rc;
	rc = proc_limits_parse(text, &limits);
	free(text);
	if (rc != R_OK) {
		warn("pid %d: /proc/%d/limits is not what this version of snap understands",
		     t->task->pid, t->task->pid);
		return R_FAILED;
	}
	for (int i = 0; i < PROC_LIMITS; i++) {
		RlimitEntry *entry = dump_alloc(ctx, sizeof(*entry));

		if (!entry)
			return R_FAILED;
		rlimit_entry__init(entry);
		entry->cur = limits.cur[i];
		entry->max = limits.max[i];
		all->rlimits[all->n_rlimits++] = entry;
	}
	core->rlimits = all;
	return R_OK;
}

/* A file of one number; R_NOT_FOUND where this kernel has none. */
static int read_number(pid_t pid, const char *name, int base, int64_t *value)
{
	char *text, *end;
	int rc = procfs_read(pid, 0, name, &text, NULL);

	if (rc != R_OK)
		return rc;
	errno = 0;
	*value = (int64_t)strtoll(text, &end, base);
	if (errno || end == text) {
		warn("pid %d: /proc/%d/%s holds no number", pid, pid, name);
		rc = R_FAILED;
	}
	free(text);
	return rc;
}

int dump_misc(struct dump_ctx *ctx, struct dump_task *t, TaskCoreEntry *core)
{
	pid_t pid = t->task->pid;
	int64_t value;
	int rc;

	rc = read_number(pid, "personality", 16, &value);
	if (rc != R_OK)
		return rc;
	core->personality = (uint32_t)value;
	rc = read_number(pid, "loginuid", 10, &value);
	if (rc == R_OK) {
		core->has_loginuid = true;
		core->loginuid = (uint32_t)value;
	} else if (rc != R_NOT_FOUND) {
		return rc;
	}
	rc = read_number(pid, "oom_score_adj", 10, &value);
	if (rc != R_OK)
		return rc;
	core->has_oom_score_adj = true;
	core->oom_score_adj = (int32_t)value;
	rc = read_number(pid, "coredump_filter", 16, &value);
	if (rc == R_OK) {
		t->extra.has_coredump_filter = true;
		t->extra.coredump_filter = (uint64_t)value;
	} else if (rc != R_NOT_FOUND) {
		return rc;
	}
	t->fs.has_umask = true;
	t->fs.umask = t->umask;
	return dump_cgroups(ctx, t);
}

static const char *const namespaces[] = {
	"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children",
	"user",	  "uts",
};
#define NAMESPACES (sizeof(namespaces) / sizeof(namespaces[0]))

/* What a link there says, such as "net:[4026531840]"; its number is that of a kind's namespace.
 * Empty: there is none. */
struct dump_namespaces {
	char links[NAMESPACES][64];
};

/* Opens the folder of a thread's namespaces: a walk there for each of them takes three times as
 * long. */
static int open_namespaces(const char *who)
{
	char path[64];
	int dir;

	snprintf(path, sizeof(path), "/proc/%s/ns", who);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		warn_errno("cannot open %s", path);
	return dir;
}

/* R_NOT_FOUND: it leads nowhere.  R_FAILED with errno set. */
static int read_namespace(int dir, size_t kind, char link[64])
{
	/* To follow the link takes the kernel twice as long. */
	ssize_t len = readlinkat(dir, namespaces[kind], link, 63);

	link[len > 0 ? len : 0] = '\0';
	if (len > 0)
		return R_OK;
	return errno == ENOENT ? R_NOT_FOUND : R_FAILED;
}

/* Our own; a kernel built without a kind of namespace has no such file. */
static int find_own_namespaces(struct dump_ctx *ctx)
{
	int dir;

	if (ctx->namespaces)
		return R_OK;
	ctx->namespaces = dump_alloc(ctx, sizeof(*ctx->namespaces));
	if (!ctx->namespaces)
		return R_FAILED;
	dir = open_namespaces("self");
	if (dir < 0)
		return R_FAILED;
	for (size_t k = 0; k < NAMESPACES; k++)
		read_namespace(dir, k, ctx->namespaces->links[k]);
	close(dir);
	return R_OK;
}

static int compare_namespaces(struct dump_ctx *ctx, pid_t tid)
{
	char who[16], there[64];
	int dir, rc = R_OK;

	snprintf(who, sizeof(who), "%d", tid);
	dir = open_namespaces(who);
	if (dir < 0)
		return R_FAILED;
	for (size_t k = 0; rc == R_OK && k < NAMESPACES; k++) {
		const char *ours = ctx->namespaces->links[k];

		if (!*ours)
			continue;
		rc = read_namespace(dir, k, there);
		/* An emptied pid_for_children leads nowhere yet. */
		if (rc == R_NOT_FOUND && strstr(namespaces[k], "_for_children")) {
			dump_refuse(ctx, tid, "its children will be in a %s namespace of their own",
				    namespaces[k]);
			rc = R_OK;
		} else if (rc != R_OK) {
			warn_errno("pid %d: its %s namespace", tid, namespaces[k]);
			rc = R_FAILED;
		} else if (strcmp(ours, there) != 0) {
			dump_refuse(ctx, tid, "it is in a %s namespace other than snap's",
				    namespaces[k]);
		}
	}
	close(dir);
	return rc;
}

int dump_namespaces(struct dump_ctx *ctx, const struct dump_task *t)
{
	int rc = find_own_namespaces(ctx);

	for (size_t i = 0; rc == R_OK && i < t->task->thread_count; i++)
		rc = compare_namespaces(ctx, t->task->threads[i]->tid);
	return rc;
}
