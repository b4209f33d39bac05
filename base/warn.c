#include "base/warn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum warn_level current_level = WARN_NORMAL;
static void (*hook)(const char *line, void *arg);
static void *hook_arg;

void warn_set_level(enum warn_level level)
{
	current_level = level;
}

void warn_set_hook(void (*fn)(const char *line, void *arg), void *arg)
{
	hook = fn;
	hook_arg = arg;
}

/* One write per line, so that lines of several processes do not mix. */
static void emit(const char *fmt, va_list args, int saved_errno)
{
	char line[2048];
	int used;

	used = vsnprintf(line, sizeof(line), fmt, args);
	if (used < 0)
		return;
	if ((size_t)used >= sizeof(line))
		used = sizeof(line) - 1;
	if (saved_errno)
		snprintf(line + used, sizeof(line) - (size_t)used, ": %s", strerror(saved_errno));
	if (hook)
		hook(line, hook_arg);
	else
		fprintf(stderr, "snap: %s\n", line);
}

void warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	emit(fmt, args, 0);
	va_end(args);
}

void warn_errno(const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, fmt);
	emit(fmt, args, saved ? saved : EIO);
	va_end(args);
	errno = saved;
}

void note(const char *fmt, ...)
{
	va_list args;

	if (current_level < WARN_NORMAL)
		return;
	va_start(args, fmt);
	emit(fmt, args, 0);
	va_end(args);
}

void detail(const char *fmt, ...)
{
	va_list args;

	if (current_level < WARN_VERBOSE)
		return;
	va_start(args, fmt);
	emit(fmt, args, 0);
	va_end(args);
}
