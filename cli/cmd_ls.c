#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "gc/gc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	const char *lineage; /* NULL: all */
	const struct gc_unique *unique;
	size_t n;
	json_t *array; /* NULL: a table is printed */
	size_t printed, name_width;
	bool failed;
};

static bool listed(const struct generation *gen, const struct listing *l)
{
	return !l->lineage || !strcmp(gen->lineage, l->lineage);
}

static uint64_t unique_of(const struct listing *l, uint64_t number)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->unique[i].generation == number)
			return l->unique[i].bytes;
	return 0;
}

static int measure(const struct generation *gen, void *arg)
{
	struct listing *l = arg;

	if (listed(gen, l) && strlen(gen->lineage) > l->name_width)
		l->name_width = strlen(gen->lineage);
	return 0;
}

static void print_row(const struct generation *gen, struct listing *l)
{
	char when[WORDS_MAX], logical[WORDS_MAX], unique[WORDS_MAX] = "-";
	int width = (int)l->name_width;

	if (l->printed++ == 0)
		printf("%6s  %-*s  %-19s  %7s  %5s  %9s  %9s\n", "GEN", width, "LINEAGE", "TIME",
		       "PID", "TASKS", "LOGICAL", "UNIQUE");
	if (l->unique)
		words_bytes(unique, unique_of(l, gen->number));
	printf("%6llu  %-*s  %-19s  %7u  %5u  %9s  %9s%s\n", (unsigned long long)gen->number, width,
	       gen->lineage, words_time(when, gen->time_ns), gen->root_pid, gen->tasks,
	       words_bytes(logical, gen->bytes_logical), unique, gen->pinned ? "  pinned" : "");
}

static int list_one(const struct generation *gen, void *arg)
{
	struct listing *l = arg;
	json_t *object;

	if (!listed(gen, l))
		return 0;
	if (!l->array) {
		print_row(gen, l);
		return 0;
	}
	object = json_generation(gen);
	if (!object ||
	    json_object_set_new(object, "bytes_unique",
				l->unique ? json_integer((json_int_t)unique_of(l, gen->number))
					  : json_null()) < 0 ||
	    json_array_append_new(l->array, object) < 0)
		l->failed = true;
	return 0;
}

int cmd_ls(const struct options *options)
{
	struct listing l = { .lineage = options->name_count ? options->names[0] : NULL,
			     .name_width = strlen("LINEAGE") };
	struct gc_unique *unique = NULL;
	struct store_view *view;
	struct store *store;
	int result, code;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = gc_bytes_unique(view, &unique, &l.n);
	if (result == R_NOT_FOUND)
		note("there are too many pages to tell within 128 MiB what only one generation "
		     "needs");
	else if (result != R_OK)
		goto out;
	result = R_OK;
	l.unique = unique;
	if (options->json)
		l.array = json_array();
	else
		result = store_generation_each(view, measure, &l);
	if (result == R_OK)
		result = store_generation_each(view, list_one, &l);
	if (result != R_OK || !options->json) {
		json_decref(l.array);
		if (result == R_OK && l.printed == 0 && l.lineage)
			note("there is no generation of lineage %s", l.lineage);
		else if (result == R_OK && l.printed == 0)
			note("the store in %s holds no generation yet", options->store_dir);
		goto out;
	}
	code = output_json(l.failed ? (json_decref(l.array), NULL) : l.array);
	free(unique);
	close_reading(store, view);
	return code;

out:
	free(unique);
	close_reading(store, view);
	return exit_code_of(result);
}
