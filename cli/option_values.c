#include "cli/option_values.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/store.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Digits only: strtoull alone would take signs and blanks.  `*end` is what follows. */
static bool read_number(const char *text, uint64_t *number, const char **end)
{
	char *behind;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*number = strtoull(text, &behind, 10);
	*end = behind;
	return errno == 0;
}

int value_count(const char *option, const char *text, uint64_t *count)
{
	const char *end;

	if (read_number(text, count, &end) && !*end && *count > 0)
		return R_OK;
	warn("--%s: \"%s\" is not a count from 1 up", option, text);
	return R_FAILED;
}

int value_duration(const char *option, const char *text, uint64_t *seconds)
{
	static const struct {
		char letter;
		uint32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	const char *end;
	uint64_t number, unit = 0;
	size_t i;

	if (!read_number(text, &number, &end))
		goto wrong;
	if (!*end)
		unit = 1;
	for (i = 0; !unit && i < sizeof(units) / sizeof(units[0]); i++)
		if (*end == units[i].letter && !end[1])
			unit = units[i].seconds;
	/* A bound well below what a time of the clock can be subtracted from, in nanoseconds. */
	if (!unit || number > 100ull * 365 * 86400 / unit)
		goto wrong;
	*seconds = number * unit;
	return R_OK;

wrong:
	warn("--%s: \"%s\" is not a time such as 90, 90m, 12h, 30d or 2w", option, text);
	return R_FAILED;
}

int value_percent(const char *option, const char *text, uint64_t *percent)
{
	const char *end;

	if (read_number(text, percent, &end) && (!*end || !strcmp(end, "%")) && *percent <= 100)
		return R_OK;
	warn("--%s: \"%s\" is not a percentage from 0 to 100", option, text);
	return R_FAILED;
}

int value_bytes(const char *option, const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *end, *unit;
	unsigned int shift = 0;
	uint64_t number;

	if (!read_number(text, &number, &end))
		goto wrong;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
	}
	if (*end || number == 0 || number > UINT64_MAX >> shift)
		goto wrong;
	*bytes = number << shift;
	return R_OK;

wrong:
	warn("--%s: \"%s\" is not a size such as 100M or 2G", option, text);
	return R_FAILED;
}

int value_pid(const char *text, int64_t *pid)
{
	const char *end;
	uint64_t number;

	if (*pid) {
		warn("--pid was given more than once");
		return R_FAILED;
	}
	/* The kernel's PID_MAX_LIMIT is 2^22. */
	if (!read_number(text, &number, &end) || *end || number == 0 || number > 1u << 22) {
		warn("--pid: \"%s\" is not a process id", text);
		return R_FAILED;
	}
	*pid = (int64_t)number;
	return R_OK;
}

int value_generations(const char *text, struct options *o)
{
	const char *at = text;

	for (;;) {
		struct generation_range range;

		if (!read_number(at, &range.first, &at))
			goto wrong;
		range.last = range.first;
		if (*at == '-' && !read_number(at + 1, &range.last, &at))
			goto wrong;
		if (range.first == 0 || range.last < range.first || (*at && *at != ','))
			goto wrong;
		if (o->generation_count == GENERATION_RANGES_MAX) {
			warn("more than %d generations or ranges of them at once; use ranges",
			     GENERATION_RANGES_MAX);
			return R_FAILED;
		}
		o->generations[o->generation_count++] = range;
		if (!*at)
			return R_OK;
		at++;
	}

wrong:
	warn("\"%s\" is not a generation number (1, 2, ...), a list or a range (3,5-8)", text);
	return R_FAILED;
}

int value_tcp(const char *text, unsigned *choice)
{
	static const char *const words[] = { [TCP_CHOICE_CLOSE] = "close",
					     [TCP_CHOICE_KEEP] = "keep",
					     [TCP_CHOICE_REFUSE] = "refuse" };
	unsigned i;

	for (i = TCP_CHOICE_CLOSE; i <= TCP_CHOICE_REFUSE; i++)
		if (!strcmp(text, words[i])) {
			*choice = i;
			return R_OK;
		}
	warn("--tcp: \"%s\" is none of close, keep, refuse", text);
	return R_FAILED;
}

int value_capture(const char *text, unsigned *choice)
{
	static const char *const words[] = { [CAPTURE_CHOICE_AUTO] = "auto",
					     [CAPTURE_CHOICE_COPY] = "copy",
					     [CAPTURE_CHOICE_PREDUMP] = "predump",
					     [CAPTURE_CHOICE_CLONE] = "clone" };
	unsigned i;

	for (i = CAPTURE_CHOICE_AUTO; i <= CAPTURE_CHOICE_CLONE; i++)
		if (!strcmp(text, words[i])) {
			*choice = i;
			return R_OK;
		}
	warn("--capture: \"%s\" is none of auto, copy, predump, clone", text);
	return R_FAILED;
}

int value_track(const char *text, unsigned *choice)
{
	if (!strcmp(text, "auto"))
		*choice = TRACK_CHOICE_AUTO;
	else if (!strcmp(text, "wp"))
		*choice = TRACK_CHOICE_WP;
	else if (!strcmp(text, "soft-dirty"))
		*choice = TRACK_CHOICE_SOFT_DIRTY;
	else if (!strcmp(text, "none"))
		*choice = TRACK_CHOICE_NONE;
	else {
		warn("--track: \"%s\" is none of auto, wp, soft-dirty, none", text);
		return R_FAILED;
	}
	return R_OK;
}

int value_word(const char *option, const char *words, const char *text, unsigned *number)
{
	size_t len = strlen(text);
	unsigned n = 1;

	for (const char *at = words; at; at = strchr(at, '|'), at = at ? at + 1 : NULL, n++)
		if (len && !strncmp(at, text, len) && (at[len] == '|' || !at[len])) {
			*number = n;
			return R_OK;
		}
	warn("--%s: \"%s\" is none of %s", option, text, words);
	return R_FAILED;
}

bool lineage_name_valid(const char *name)
{
	size_t len = strlen(name), i;

	if (len == 0 || len >= LINEAGE_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

int value_range(const char *option, const char *text, uint64_t *start, uint64_t *end)
{
	uint64_t a, b;
	char *rest;

	errno = 0;
	a = strtoull(text, &rest, 16);
	if (!errno && rest != text && *text != '-' && (*rest == '-' || *rest == '+')) {
		bool length = *rest == '+';
		char *tail;

		b = strtoull(rest + 1, &tail, length ? 0 : 16);
		if (length && b <= UINT64_MAX - a)
			b += a;
		if (!errno && tail != rest + 1 && rest[1] != '-' && !*tail && a < b &&
		    b <= UINT64_MAX - PAGE_BYTES) {
			*start = a;
			*end = b;
			return R_OK;
		}
	}
	warn("--%s: \"%s\" is no range of addresses, such as 7f0000400000-7f0000401000 or "
	     "7f0000400000+4096",
	     option, text);
	return R_FAILED;
}
