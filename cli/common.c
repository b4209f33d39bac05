#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/interrupt.h"
#include "gc/gc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_NS 100000000 /* how often a taken lock or pid is asked for again */

/* The lines of one try, held back until it is known whether there is another. */
struct held {
	char *text;
	size_t len;
	FILE *stream;
};

static void hold_line(const char *line, void *arg)
{
	struct held *held = arg;

	fprintf(held->stream, "snap: %s\n", line);
}

static int one_try(int (*work)(void *arg), void *arg, bool last)
{
	struct held held = { 0 };
	int result;

	held.stream = open_memstream(&held.text, &held.len);
	if (!held.stream)
		return work(arg);
	warn_set_hook(hold_line, &held);
	result = work(arg);
	warn_set_hook(NULL, NULL);
	fclose(held.stream);
	if (result != R_BUSY || last)
		fputs(held.text, stderr);
	free(held.text);
	return result;
}

int with_wait(const struct options *options, int (*work)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = RETRY_NS };
	struct timespec now, end;
	int result;

	if (!options->wait_seconds)
		return work(arg);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)options->wait_seconds;
	for (;;) {
		bool last;

		clock_gettime(CLOCK_MONOTONIC, &now);
		last = now.tv_sec > end.tv_sec ||
		       (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
		result = one_try(work, arg, last);
		if (result != R_BUSY || last)
			return result;
		if (interrupt_signal())
			return R_FAILED;
		nanosleep(&pause, NULL);
	}
}

struct opening {
	const struct options *options;
	bool create, writable;
	struct store **store;
};

static int do_open(void *arg)
{
	const struct opening *o = arg;

	return store_open(o->options->store_dir, o->create, o->writable, o->store);
}

int open_to_write(const struct options *options, bool create, struct store **store)
{
	struct opening opening = { options, create, true, store };

	return with_wait(options, do_open, &opening);
}

int open_to_read(const struct options *options, struct store **store, struct store_view **view)
{
	struct opening opening = { options, false, false, store };
	int result;

	result = with_wait(options, do_open, &opening);
	if (result != R_OK)
		return result;
	result = store_view_open(*store, view);
	if (result != R_OK)
		store_close(*store);
	return result;
}

void close_reading(struct store *store, struct store_view *view)
{
	if (view)
		store_view_close(view);
	if (store)
		store_close(store);
}

int find_generation(const struct options *options, struct store_view *view, struct generation *gen)
{
	uint64_t number = options_generation(options);
	int result;

	if (number) {
		result = store_generation(view, number, gen);
		if (result == R_NOT_FOUND)
			warn("there is no generation %llu in %s; see snap ls",
			     (unsigned long long)number, options->store_dir);
		else if (result == R_OK && options->name_count &&
			 strcmp(gen->lineage, options->names[0]) != 0) {
			warn("generation %llu is of lineage %s, not %s", (unsigned long long)number,
			     gen->lineage, options->names[0]);
			result = R_NOT_FOUND;
		}
		return result;
	}
	result = store_generation_latest(view, options->names[0], gen);
	if (result == R_NOT_FOUND)
		warn("there is no generation of lineage %s in %s; see snap ls", options->names[0],
		     options->store_dir);
	return result;
}
