#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

struct finding {
	const struct progress *progress;
	json_t *damaged; /* NULL: printed as text */
	bool failed;
};

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	const struct finding *f = arg;

	progress_tell(f->progress, "verifying", done, total, PROGRESS_PAGES);
}

/* Objects of memory are addressed by address, all others by offset. */
static void print_damage(const struct store_damage *d)
{
	if (d->generation == 0)
		printf("damaged: index: %s\n", d->reason);
	else if (!d->object)
		printf("damaged: generation %llu: %s\n", (unsigned long long)d->generation,
		       d->reason);
	else
		printf("damaged: generation %llu, object %s, %s 0x%llx: %s\n",
		       (unsigned long long)d->generation, d->object,
		       strncmp(d->object, "pages-", 6) ? "offset" : "address",
		       (unsigned long long)d->index * PAGE_BYTES, d->reason);
}

static void on_damage(const struct store_damage *d, void *arg)
{
	struct finding *f = arg;
	json_t *object;

	if (!f->damaged) {
		bar_end();
		print_damage(d);
		return;
	}
	object = json_pack("{s:I, s:s?, s:I, s:I, s:s}", "generation", (json_int_t)d->generation,
			   "object", d->object, "address", (json_int_t)(d->index * PAGE_BYTES),
			   "page", (json_int_t)d->number, "reason", d->reason);
	if (!object || json_array_append_new(f->damaged, object) < 0)
		f->failed = true;
}

static int print_result(const struct options *options, const struct store_verify_result *r,
			struct finding *f)
{
	char text[WORDS_MAX];

	if (options->json)
		return output_json(
		    f->failed ? NULL
			      : json_pack("{s:O, s:I, s:I, s:I, s:b}", "damaged", f->damaged,
					  "generations", (json_int_t)r->generations, "objects",
					  (json_int_t)r->objects, "pages", (json_int_t)r->pages,
					  "data", options->data));
	printf("%llu generation%s, %llu objects, %llu pages (%s): ",
	       (unsigned long long)r->generations, r->generations == 1 ? "" : "s",
	       (unsigned long long)r->objects, (unsigned long long)r->pages,
	       words_bytes(text, r->pages * PAGE_BYTES));
	if (r->damaged)
		printf("%llu damaged\n", (unsigned long long)r->damaged);
	else
		printf("%s\n", options->data ? "all whole"
					     : "structure whole (--data reads every page as well)");
	return EXIT_DONE;
}

int cmd_verify(const struct options *options)
{
	struct finding f = { .damaged = options->json ? json_array() : NULL };
	struct store_verify_options how = { .generation = options_generation(options),
					    .data = options->data,
					    .progress = show_progress,
					    .damage = on_damage,
					    .arg = &f };
	struct store_verify_result found = { 0 };
	struct store_view *view;
	struct store *store;
	int result, code;

	result = open_to_read(options, &store, &view);
	if (result != R_OK) {
		json_decref(f.damaged);
		return exit_code_of(result);
	}
	f.progress = bar_begin(options);
	result = store_verify(view, &how, &found);
	bar_end();
	close_reading(store, view);
	code = exit_code_of(result);
	if (result == R_NOT_FOUND) {
		warn("there is no generation %llu in %s; see snap ls",
		     (unsigned long long)how.generation, options->store_dir);
	} else if (result == R_OK || result == R_DAMAGED) {
		if (print_result(options, &found, &f) != EXIT_DONE && code == EXIT_DONE)
			code = EXIT_FAILED;
	}
	json_decref(f.damaged);
	return code;
}
