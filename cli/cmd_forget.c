#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "gc/gc.h"

#include <stdio.h>
#include <stdlib.h>

/* The generations asked for: every single one named, and those of the ranges that exist. */
struct wanted {
	const struct options *options;
	uint64_t *numbers;
	size_t n, room;
	bool failed;
};

static void want(struct wanted *w, uint64_t number)
{
	size_t i;

	for (i = 0; i < w->n; i++)
		if (w->numbers[i] == number)
			return;
	if (w->n == w->room) {
		size_t room = w->room ? w->room * 2 : 64;
		uint64_t *more = reallocarray(w->numbers, room, sizeof(*more));

		if (!more) {
			w->failed = true;
			return;
		}
		w->numbers = more;
		w->room = room;
	}
	w->numbers[w->n++] = number;
}

static int want_from_ranges(const struct generation *gen, void *arg)
{
	struct wanted *w = arg;
	size_t i;

	for (i = 0; i < w->options->generation_count; i++) {
		const struct generation_range *range = &w->options->generations[i];

		if (gen->number >= range->first && gen->number <= range->last)
			want(w, gen->number);
	}
	return 0;
}

/* R_NOT_FOUND, reported, if a single one does not exist or nothing is left to forget. */
static int choose(const struct options *options, struct store_view *view, struct wanted *w)
{
	struct generation gen;
	size_t i;
	int result;

	for (i = 0; i < options->generation_count; i++) {
		const struct generation_range *range = &options->generations[i];

		if (range->first != range->last)
			continue;
		result = store_generation(view, range->first, &gen);
		if (result == R_NOT_FOUND)
			warn("there is no generation %llu in %s; nothing was forgotten",
			     (unsigned long long)range->first, options->store_dir);
		if (result != R_OK)
			return result;
	}
	result = store_generation_each(view, want_from_ranges, w);
	if (result == R_OK && w->failed) {
		warn("out of memory");
		return R_FAILED;
	}
	if (result == R_OK && w->n == 0) {
		warn("there is no generation in that range in %s", options->store_dir);
		return R_NOT_FOUND;
	}
	return result;
}

static int print_forgotten(const struct options *options, const struct wanted *w,
			   const struct gc_result *r)
{
	json_t *numbers, *object;
	size_t i;

	if (options->json) {
		numbers = json_array();
		for (i = 0; i < w->n; i++)
			json_array_append_new(numbers, json_integer((json_int_t)w->numbers[i]));
		object = json_pack("{s:o, s:b}", "forgotten", numbers, "dry_run", options->dry_run);
		if (object && json_gc_result(object, r)) {
			json_decref(object);
			object = NULL;
		}
		return output_json(object);
	}
	if (options->quiet)
		return EXIT_DONE;
	for (i = 0; i < w->n; i++)
		printf("%s generation %llu\n", options->dry_run ? "would forget" : "forgot",
		       (unsigned long long)w->numbers[i]);
	if (!options->dry_run)
		print_gc_bytes(r);
	return EXIT_DONE;
}

struct forgetting {
	struct store *store;
	const struct gc_plan *plan;
	struct gc_options options;
	struct gc_result result;
};

static int do_forget(void *arg)
{
	struct forgetting *f = arg;

	return gc_run(f->store, f->plan, &f->options, &f->result);
}

int cmd_forget(const struct options *options)
{
	struct forgetting f = { .options = gc_options_of(options) };
	struct wanted w = { .options = options };
	struct gc_plan *plan = NULL;
	struct store_view *view;
	struct store *store;
	int result, code;

	result = open_to_write(options, false, &store);
	if (result != R_OK)
		return exit_code_of(result);
	result = store_view_open(store, &view);
	if (result == R_OK) {
		result = choose(options, view, &w);
		if (result == R_OK)
			result = gc_plan_forget(view, w.numbers, w.n, options->allow_empty, &plan);
		store_view_close(view);
		/* A pinned one does not get free by waiting: this is a plain no. */
		if (result == R_BUSY)
			result = R_FAILED;
	}
	if (result == R_OK && !options->dry_run) {
		f.store = store;
		f.plan = plan;
		f.options.progress = bar_begin(options);
		result = with_wait(options, do_forget, &f);
		bar_end();
	}
	code = result == R_OK ? print_forgotten(options, &w, &f.result) : exit_code_of(result);
	if (plan)
		gc_plan_free(plan);
	store_close(store);
	free(w.numbers);
	return code;
}
