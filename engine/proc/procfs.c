#include "engine/proc/procfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/ahead.h"

#define TEXT_MAX_BYTES (4u << 20)

int procfs_read(pid_t pid, pid_t tid, const char *name, char **text, size_t *len)
{
	char path[128];
	size_t ignored;

	if ((tid == 0 || tid == pid) && ahead_get(pid, name, text, len ? len : &ignored))
		return R_OK;
	if (tid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	if (io_read_file(AT_FDCWD, path, TEXT_MAX_BYTES, text, len ? len : &ignored) == R_OK)
		return R_OK;
	if (errno == ENOENT || errno == ESRCH)
		return R_NOT_FOUND;
	warn_errno("pid %d: cannot read %s", pid, path);
	return R_FAILED;
}

/* Reads the number at `*at` after spaces, and steps behind it. */
static bool next_unsigned(const char **at, int base, uint64_t *value)
{
	const char *p = *at;
	char *end;

	while (*p == ' ' || *p == '\t')
		p++;
	if (base == 16 ? !isxdigit((unsigned char)*p) : !isdigit((unsigned char)*p))
		return false;
	errno = 0;
	*value = strtoull(p, &end, base);
	if (errno || end == p)
		return false;
	*at = end;
	return true;
}

static bool next_signed(const char **at, int64_t *value)
{
	const char *p = *at;
	char *end;

	while (*p == ' ' || *p == '\t')
		p++;
	if (!isdigit((unsigned char)*p) && !(*p == '-' && isdigit((unsigned char)p[1])))
		return false;
	errno = 0;
	*value = strtoll(p, &end, 10);
	if (errno || end == p)
		return false;
	*at = end;
	return true;
}

/* In the order of the RLIMIT_* numbers of x86 and most others. */
static const char *const limit_names[PROC_LIMITS] = {
	"Max cpu time",	      "Max file size",	   "Max data size",	    "Max stack size",
	"Max core file size", "Max resident set",  "Max processes",	    "Max open files",
	"Max locked memory",  "Max address space", "Max file locks",	    "Max pending signals",
	"Max msgqueue size",  "Max nice priority", "Max realtime priority", "Max realtime timeout",
};

static bool next_limit(const char **at, uint64_t *value)
{
	while (**at == ' ')
		(*at)++;
	if (strncmp(*at, "unlimited", 9) == 0) {
		*at += 9;
		*value = UINT64_MAX;
		return true;
	}
	return next_unsigned(at, 10, value);
}

int proc_limits_parse(const char *text, struct proc_limits *limits)
{
	for (int i = 0; i < PROC_LIMITS; i++) {
		const char *at = strstr(text, limit_names[i]);

		if (!at || (at != text && at[-1] != '\n'))
			return R_DAMAGED;
		at += strlen(limit_names[i]);
		if (*at != ' ' || !next_limit(&at, &limits->cur[i]) ||
		    !next_limit(&at, &limits->max[i]))
			return R_DAMAGED;
	}
	return R_OK;
}

/* "signal: 14/ADDRESS" and "notify: signal/pid.12" or "thread/tid.12" */
static bool timer_notify(const char *at, struct proc_timer *timer)
{
	static const struct {
		const char *name;
		uint32_t notify;
	} kinds[] = { { "signal/", SIGEV_SIGNAL },
		      { "none/", SIGEV_NONE },
		      { "thread/", SIGEV_THREAD } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].name);
		uint64_t id;
		bool of_thread;

		if (strncmp(at, kinds[i].name, len) != 0)
			continue;
		at += len;
		of_thread = strncmp(at, "tid.", 4) == 0;
		if (!of_thread && strncmp(at, "pid.", 4) != 0)
			return false;
		at += 4;
		if (!next_unsigned(&at, 10, &id) || id > INT32_MAX)
			return false;
		timer->notify = kinds[i].notify | (of_thread ? SIGEV_THREAD_ID : 0);
		timer->notify_tid = of_thread ? (int32_t)id : 0;
		return true;
	}
	return false;
}

/* The four lines of one timer at `*at`. */
static bool timer_parse(const char **at, struct proc_timer *timer)
{
	const char *p = *at;
	int64_t number;

	memset(timer, 0, sizeof(*timer));
	if (strncmp(p, "ID:", 3) != 0)
		return false;
	p += 3;
	if (!next_signed(&p, &number) || *p++ != '\n' || number < 0 || number > INT32_MAX)
		return false;
	timer->id = (int32_t)number;
	if (strncmp(p, "signal:", 7) != 0)
		return false;
	p += 7;
	if (!next_signed(&p, &number) || *p++ != '/' || number < 0 || number > 64)
		return false;
	timer->signo = (int32_t)number;
	if (strncmp(p, "0x", 2) == 0)
		p += 2;
	if (!next_unsigned(&p, 16, &timer->value) || *p++ != '\n')
		return false;
	if (strncmp(p, "notify: ", 8) != 0 || !timer_notify(p + 8, timer))
		return false;
	p = strchr(p, '\n');
	if (!p || strncmp(p + 1, "ClockID:", 8) != 0)
		return false;
	p += 9;
	if (!next_signed(&p, &number) || *p++ != '\n')
		return false;
	timer->clock = (int32_t)number;
	*at = p;
	return true;
}

int proc_timers_parse(const char *text, struct proc_timer **timers, size_t *n)
{
	struct proc_timer *list = NULL;
	size_t count = 0;

	while (*text) {
		struct proc_timer timer, *more;

		if (!timer_parse(&text, &timer))
			goto err0;
		more = reallocarray(list, count + 1, sizeof(*more));
		if (!more)
			goto err0;
		list = more;
		list[count++] = timer;
	}
	*timers = list;
	*n = count;
	return R_OK;

err0:
	free(list);
	*timers = NULL;
	*n = 0;
	return R_DAMAGED;
}

int proc_cgroup_parse(const char *text, char **path)
{
	*path = NULL;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		*path = strndup(line + 3, strcspn(line + 3, "\n"));
		return *path ? R_OK : R_DAMAGED;
	}
	return R_OK;
}

bool proc_cgroup_next(const char **at, const char **controllers, size_t *controllers_len,
		      const char **path, size_t *path_len)
{
	while (**at) {
		const char *line = *at;
		size_t len = strcspn(line, "\n");
		const char *first = memchr(line, ':', len), *second = NULL;

		*at = line + len + (line[len] == '\n');
		if (first)
			second = memchr(first + 1, ':', len - (size_t)(first + 1 - line));
		/* The unified hierarchy is the one without controllers. */
		if (!second || second == first + 1 || second[1] != '/')
			continue;
		*controllers = first + 1;
		*controllers_len = (size_t)(second - *controllers);
		*path = second + 1;
		*path_len = len - (size_t)(*path - line);
		return true;
	}
	return false;
}
