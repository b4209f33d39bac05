#include "engine/proc/stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/ahead.h"

/* stat is one line of 52 numbers; status grows with the groups, of which a task may have 65536. */
#define STAT_MAX_BYTES 8192
#define STATUS_MAX_BYTES (1024 * 1024)
#define LIST_MAX_BYTES (16 * 1024 * 1024)

/* Fields of stat behind the command name, counted as proc(5) does. */
enum {
	FIELD_PPID = 4,
	FIELD_PGID = 5,
	FIELD_SID = 6,
	FIELD_TTY = 7,
	FIELD_TTY_PGID = 8,
	FIELD_FLAGS = 9,
	FIELD_PRIORITY = 18,
	FIELD_NICE = 19,
	FIELD_THREADS = 20,
	FIELD_START_TIME = 22,
	FIELD_START_CODE = 26,
	FIELD_END_CODE = 27,
	FIELD_START_STACK = 28,
	FIELD_EXIT_SIGNAL = 38,
	FIELD_RT_PRIORITY = 40,
	FIELD_POLICY = 41,
	FIELD_START_DATA = 45,
	FIELD_END_DATA = 46,
	FIELD_START_BRK = 47,
	FIELD_ARG_START = 48,
	FIELD_ARG_END = 49,
	FIELD_ENV_START = 50,
	FIELD_ENV_END = 51,
	FIELD_EXIT_CODE = 52,
};

/* Reads the numbers from field 4 on.  They go up to 2^64-1 and down to below zero. */
static bool stat_numbers(const char *p, uint64_t *field)
{
	for (int i = FIELD_PPID; i <= FIELD_EXIT_CODE; i++) {
		char *end;
		while (*p == ' ')
			p++;
		if (*p == '-')
			field[i] = (uint64_t)strtoll(p, &end, 10);
		else
			field[i] = strtoull(p, &end, 10);
		if (end == p || (*end != ' ' && *end != '\n' && *end != '\0'))
			return false;
		p = end;
	}
	return true;
}

static void stat_fill(const uint64_t *field, struct proc_stat *out)
{
	out->ppid = (pid_t)field[FIELD_PPID];
	out->pgid = (pid_t)field[FIELD_PGID];
	out->sid = (pid_t)field[FIELD_SID];
	out->tty_nr = (int32_t)field[FIELD_TTY];
	out->tty_pgid = (pid_t)field[FIELD_TTY_PGID];
	out->flags = field[FIELD_FLAGS];
	out->priority = (int64_t)field[FIELD_PRIORITY];
	out->nice = (int64_t)field[FIELD_NICE];
	out->threads = (int64_t)field[FIELD_THREADS];
	out->start_time = field[FIELD_START_TIME];
	out->start_code = field[FIELD_START_CODE];
	out->end_code = field[FIELD_END_CODE];
	out->start_stack = field[FIELD_START_STACK];
	out->exit_signal = (int)field[FIELD_EXIT_SIGNAL];
	out->rt_priority = (uint32_t)field[FIELD_RT_PRIORITY];
	out->policy = (uint32_t)field[FIELD_POLICY];
	out->start_data = field[FIELD_START_DATA];
	out->end_data = field[FIELD_END_DATA];
	out->start_brk = field[FIELD_START_BRK];
	out->arg_start = field[FIELD_ARG_START];
	out->arg_end = field[FIELD_ARG_END];
	out->env_start = field[FIELD_ENV_START];
	out->env_end = field[FIELD_ENV_END];
	out->exit_code = (int)field[FIELD_EXIT_CODE];
}

int proc_stat_parse(const char *text, size_t len, struct proc_stat *out)
{
	*out = (struct proc_stat){ 0 };
	if (strnlen(text, len + 1) != len)
		return R_DAMAGED;
	char *end;
	long pid = strtol(text, &end, 10);
	if (end == text || end[0] != ' ' || end[1] != '(')
		return R_DAMAGED;
	/* The name may hold anything, ") R 1" too; the last parenthesis is the file's own. */
	const char *name = end + 2;
	const char *close = strrchr(name, ')');
	if (!close || close[1] != ' ' || close[2] == '\0' || close[3] != ' ')
		return R_DAMAGED;
	size_t name_len = (size_t)(close - name);
	if (name_len >= sizeof out->comm) /* kernel threads of workqueues have longer ones */
		name_len = sizeof out->comm - 1;
	uint64_t field[FIELD_EXIT_CODE + 1];
	if (!stat_numbers(close + 3, field))
		return R_DAMAGED;
	out->pid = (pid_t)pid;
	memcpy(out->comm, name, name_len);
	out->state = close[2];
	stat_fill(field, out);
	return R_OK;
}

static void parse_u32s(const char *value, int base, uint32_t *to, size_t max, size_t *count)
{
	size_t n = 0;
	for (const char *p = value; n < max; n++) {
		char *end;
		unsigned long v = strtoul(p, &end, base);
		/* strtoul skips line ends too: a number behind one is of the next field. */
		if (end == p || memchr(p, '\n', (size_t)(end - p)))
			break;
		to[n] = (uint32_t)v;
		p = end;
	}
	*count = n;
}

/* Which line of status goes where. */
enum kind {
	KIND_STATE,
	KIND_PID,
	KIND_DECIMAL,
	KIND_OCTAL,
	KIND_HEX64,
	KIND_IDS,
	KIND_GROUPS,
	KIND_LEVELS
};

static const struct status_line {
	const char *name;
	enum kind kind;
	size_t offset;
} status_lines[] = {
	{ "Umask:", KIND_OCTAL, offsetof(struct proc_status, umask) },
	{ "State:", KIND_STATE, offsetof(struct proc_status, state) },
	{ "Tgid:", KIND_PID, offsetof(struct proc_status, tgid) },
	{ "TracerPid:", KIND_PID, offsetof(struct proc_status, tracer_pid) },
	{ "Uid:", KIND_IDS, offsetof(struct proc_status, uid) },
	{ "Gid:", KIND_IDS, offsetof(struct proc_status, gid) },
	{ "Groups:", KIND_GROUPS, offsetof(struct proc_status, groups) },
	{ "NSpid:", KIND_LEVELS, offsetof(struct proc_status, levels_of_pid) },
	{ "SigPnd:", KIND_HEX64, offsetof(struct proc_status, sig_pending) },
	{ "ShdPnd:", KIND_HEX64, offsetof(struct proc_status, shared_pending) },
	{ "SigBlk:", KIND_HEX64, offsetof(struct proc_status, sig_blocked) },
	{ "SigIgn:", KIND_HEX64, offsetof(struct proc_status, sig_ignored) },
	{ "SigCgt:", KIND_HEX64, offsetof(struct proc_status, sig_caught) },
	{ "CapInh:", KIND_HEX64, offsetof(struct proc_status, cap_inheritable) },
	{ "CapPrm:", KIND_HEX64, offsetof(struct proc_status, cap_permitted) },
	{ "CapEff:", KIND_HEX64, offsetof(struct proc_status, cap_effective) },
	{ "CapBnd:", KIND_HEX64, offsetof(struct proc_status, cap_bounding) },
	{ "CapAmb:", KIND_HEX64, offsetof(struct proc_status, cap_ambient) },
	{ "NoNewPrivs:", KIND_DECIMAL, offsetof(struct proc_status, no_new_privs) },
	{ "Seccomp:", KIND_DECIMAL, offsetof(struct proc_status, seccomp) },
	{ "Seccomp_filters:", KIND_DECIMAL, offsetof(struct proc_status, seccomp_filters) },
};

static void status_value(const struct status_line *line, const char *value, struct proc_status *out)
{
	void *to = (char *)out + line->offset;
	size_t count;
	uint32_t pids[32]; /* MAX_PID_NS_LEVEL of the kernel */
	switch (line->kind) {
	case KIND_STATE:
		*(char *)to = *value;
		break;
	case KIND_PID:
		*(pid_t *)to = (pid_t)strtol(value, NULL, 10);
		break;
	case KIND_DECIMAL:
		*(uint32_t *)to = (uint32_t)strtoul(value, NULL, 10);
		break;
	case KIND_OCTAL:
		*(uint32_t *)to = (uint32_t)strtoul(value, NULL, 8);
		break;
	case KIND_HEX64:
		*(uint64_t *)to = strtoull(value, NULL, 16);
		break;
	case KIND_IDS:
		parse_u32s(value, 10, to, 4, &count);
		break;
	case KIND_GROUPS:
		parse_u32s(value, 10, to, PROC_GROUPS_MAX, &out->group_count);
		break;
	case KIND_LEVELS:
		parse_u32s(value, 10, pids, 32, &count);
		*(uint32_t *)to = (uint32_t)count;
		break;
	}
}

int proc_status_parse(const char *text, size_t len, struct proc_status *out)
{
	*out = (struct proc_status){ 0 };
	if (strnlen(text, len + 1) != len)
		return R_DAMAGED;
	for (const char *p = text; *p;) {
		for (size_t i = 0; i < sizeof status_lines / sizeof status_lines[0]; i++) {
			size_t n = strlen(status_lines[i].name);
			if (strncmp(p, status_lines[i].name, n) != 0)
				continue;
			const char *value = p + n;
			value += strspn(value, " \t");
			status_value(&status_lines[i], value, out);
		}
		const char *next = strchr(p, '\n');
		if (!next)
			break;
		p = next + 1;
	}
	return out->state && out->tgid > 0 ? R_OK : R_DAMAGED;
}

static int read_proc(pid_t pid, pid_t tid, const char *name, size_t max, char **text, size_t *len)
{
	char path[96];
	if ((tid == 0 || tid == pid) && ahead_get(pid, name, text, len))
		return R_OK;
	if (tid)
		snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, tid, name);
	else
		snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	if (io_read_file(AT_FDCWD, path, max, text, len) == R_OK)
		return R_OK;
	if (errno == ENOENT || errno == ESRCH)
		return R_NOT_FOUND;
	warn_errno("cannot read %s", path);
	return R_FAILED;
}

static int parsed(int rc, pid_t pid, pid_t tid, const char *name)
{
	if (rc == R_OK)
		return R_OK;
	warn("/proc/%d/%s of thread %d is not of the form this snap knows", pid, name,
	     tid ? tid : pid);
	return R_FAILED;
}

int proc_stat_read(pid_t pid, pid_t tid, struct proc_stat *out)
{
	char *text;
	size_t len;
	int rc = read_proc(pid, tid, "stat", STAT_MAX_BYTES, &text, &len);
	if (rc)
		return rc;
	rc = parsed(proc_stat_parse(text, len, out), pid, tid, "stat");
	free(text);
	return rc;
}

int proc_status_read(pid_t pid, pid_t tid, struct proc_status *out)
{
	char *text;
	size_t len;
	int rc = read_proc(pid, tid, "status", STATUS_MAX_BYTES, &text, &len);
	if (rc)
		return rc;
	rc = parsed(proc_status_parse(text, len, out), pid, tid, "status");
	free(text);
	return rc;
}

static int append(pid_t **ids, size_t *count, pid_t id)
{
	if ((*count & (*count - 1)) == 0) { /* room doubles at each power of two */
		size_t room = *count ? *count * 2 : 1;
		pid_t *more = realloc(*ids, room * sizeof **ids);
		if (!more) {
			warn_errno("cannot list processes");
			return R_FAILED;
		}
		*ids = more;
	}
	(*ids)[(*count)++] = id;
	return R_OK;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

int proc_threads(pid_t pid, pid_t **ids, size_t *count)
{
	*ids = NULL;
	*count = 0;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir) {
		if (errno == ENOENT || errno == ESRCH)
			return R_NOT_FOUND;
		warn_errno("cannot read %s", path);
		return R_FAILED;
	}
	int rc = R_OK;
	struct dirent *entry;
	while (rc == R_OK && (entry = readdir(dir))) {
		long id = strtol(entry->d_name, NULL, 10);
		if (id > 0)
			rc = append(ids, count, (pid_t)id);
	}
	closedir(dir);
	if (rc == R_OK && *count == 0)
		rc = R_NOT_FOUND;
	if (rc) {
		free(*ids);
		*ids = NULL;
		return rc;
	}
	qsort(*ids, *count, sizeof **ids, by_number);
	return R_OK;
}

int proc_children(pid_t pid, pid_t tid, pid_t **ids, size_t *count)
{
	*ids = NULL;
	*count = 0;
	char *text;
	size_t len;
	int rc = read_proc(pid, tid, "children", LIST_MAX_BYTES, &text, &len);
	if (rc)
		return rc;
	for (const char *p = text; rc == R_OK;) {
		char *end;
		long id = strtol(p, &end, 10);
		if (end == p)
			break;
		rc = append(ids, count, (pid_t)id);
		p = end;
	}
	free(text);
	if (rc) {
		free(*ids);
		*ids = NULL;
	}
	return rc;
}
