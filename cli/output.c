#include "cli/output.h"

#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/json_memory.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *words_bytes(char text[WORDS_MAX], uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	/* From 999.5 on three digits would round up to four. */
	while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, WORDS_MAX, unit > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s", value,
		 units[unit]);
	return text;
}

const char *words_duration(char text[WORDS_MAX], uint64_t ns)
{
	double ms = (double)ns / 1e6;
	uint64_t s = ns / 1000000000;

	if (ms < 9.95)
		snprintf(text, WORDS_MAX, "%.1f ms", ms);
	else if (ms < 999.5)
		snprintf(text, WORDS_MAX, "%.0f ms", ms);
	else if (s < 60)
		snprintf(text, WORDS_MAX, "%.1f s", ms / 1000);
	else
		snprintf(text, WORDS_MAX, "%llu min %llu s", (unsigned long long)s / 60,
			 (unsigned long long)s % 60);
	return text;
}

const char *words_time(char text[WORDS_MAX], int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(text, WORDS_MAX, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(text, WORDS_MAX, "%lld s", (long long)seconds);
	return text;
}

/* RFC 3339 in UTC with milliseconds. */
static const char *time_for_machines(char text[WORDS_MAX], int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char head[WORDS_MAX - 8];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || !strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm))
		head[0] = '\0';
	snprintf(text, WORDS_MAX, "%s.%03dZ", head, (int)(ns / 1000000 % 1000));
	return text;
}

int output_json(json_t *value)
{
	bool whole = value && !json_memory_failed();
	int result = whole ? json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) : -1;

	if (!whole)
		warn("out of memory while preparing JSON");
	json_decref(value);
	if (result == 0)
		putchar('\n');
	return result == 0 ? EXIT_DONE : EXIT_FAILED;
}

json_t *json_generation(const struct generation *gen)
{
	char when[WORDS_MAX];

	return json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:b, s:I}", "generation",
			 (json_int_t)gen->number, "lineage", gen->lineage, "time",
			 time_for_machines(when, gen->time_ns), "time_ns", (json_int_t)gen->time_ns,
			 "root_pid", (json_int_t)gen->root_pid, "tasks", (json_int_t)gen->tasks,
			 "pinned", gen->pinned, "bytes_logical", (json_int_t)gen->bytes_logical);
}

void json_add_bytes(json_t *object, const struct generation *gen)
{
	json_object_set_new(object, "bytes_data", json_integer((json_int_t)gen->bytes_data));
	json_object_set_new(object, "bytes_trees", json_integer((json_int_t)gen->bytes_trees));
	json_object_set_new(object, "bytes_images", json_integer((json_int_t)gen->bytes_images));
	json_object_set_new(object, "bytes_headers", json_integer((json_int_t)gen->bytes_headers));
	json_object_set_new(object, "bytes_index", json_integer((json_int_t)gen->bytes_index));
}

int output_finish(int code)
{
	int failed = ferror(stdout);

	/* Text is made of the same values. */
	if (json_memory_failed() && code == EXIT_DONE) {
		warn("out of memory: what was told is not whole");
		code = EXIT_FAILED;
	}
	errno = 0;
	if (fclose(stdout) == 0 && !failed)
		return code;
	warn_errno("cannot write to standard output");
	return code == EXIT_DONE ? EXIT_FAILED : code;
}
