#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

/* Pages of one object that follow each other and are lost; n 0: none. */
struct loss {
	uint64_t generation, first, n;
	bool predump;
	char object[256];
};

struct finding {
	const struct progress *progress;
	struct loss loss; /* with --repair: not printed yet */
	bool repair;
	json_t *damaged; /* NULL: printed as text */
	bool failed;
};

static void show_progress(uint64_t done, uint64_t total, void *arg)
{
	const struct finding *f = arg;

	progress_tell(f->progress, "verifying", done, total, PROGRESS_PAGES);
}

static const char *record_word(bool predump)
{
	return predump ? "pre-dump" : "generation";
}

/* Objects of memory are addressed by address, all others by offset. */
static void print_damage(const struct store_damage *d)
{
	if (d->generation == 0)
		printf("damaged: index: %s\n", d->reason);
	else if (!d->object)
		printf("damaged: %s %llu: %s\n", record_word(d->predump),
		       (unsigned long long)d->generation, d->reason);
	else
		printf("damaged: %s %llu, object %s, %s 0x%llx: %s\n", record_word(d->predump),
		       (unsigned long long)d->generation, d->object,
		       strncmp(d->object, "pages-", 6) ? "offset" : "address",
		       (unsigned long long)d->index * PAGE_BYTES, d->reason);
}

/* What cannot be had back, as one line for all pages that follow each other. */
static void print_loss(struct loss *loss)
{
	if (loss->n)
		printf("given up: %s %llu, object %s, %s 0x%llx to 0x%llx (%llu page%s)\n",
		       record_word(loss->predump), (unsigned long long)loss->generation,
		       loss->object, strncmp(loss->object, "pages-", 6) ? "offset" : "address",
		       (unsigned long long)loss->first * PAGE_BYTES,
		       (unsigned long long)(loss->first + loss->n) * PAGE_BYTES - 1,
		       (unsigned long long)loss->n, loss->n == 1 ? "" : "s");
	loss->n = 0;
}

static void add_loss(struct loss *loss, const struct store_damage *d)
{
	if (loss->n && loss->generation == d->generation && loss->predump == d->predump &&
	    strcmp(loss->object, d->object) == 0 && loss->first + loss->n == d->index) {
		loss->n++;
		return;
	}
	print_loss(loss);
	loss->generation = d->generation;
	loss->predump = d->predump;
	loss->first = d->index;
	loss->n = 1;
	snprintf(loss->object, sizeof(loss->object), "%s", d->object);
}

static void on_damage(const struct store_damage *d, void *arg)
{
	struct finding *f = arg;
	json_t *object;

	if (!f->damaged && f->repair && d->object && !strstr(d->reason, "node")) {
		bar_end();
		add_loss(&f->loss, d);
		return;
	}
	if (!f->damaged) {
		print_loss(&f->loss);
		bar_end();
		print_damage(d);
		return;
	}
	object = json_pack("{s:I, s:b, s:s?, s:I, s:I, s:s}", "generation",
			   (json_int_t)d->generation, "predump", d->predump, "object", d->object,
			   "address", (json_int_t)(d->index * PAGE_BYTES), "page",
			   (json_int_t)d->number, "reason", d->reason);
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
		printf("%s\n", options->data || options->repair
				   ? "all whole"
				   : "structure whole (--data reads every page as well)");
	return EXIT_DONE;
}

struct repairing {
	const char *dir;
	bool rebuilt;
};

static int do_repair(void *arg)
{
	struct repairing *r = arg;

	return store_repair_index(r->dir, &r->rebuilt);
}

/* Before the store is looked at: the index; behind it: what takes have to know. */
static int repair(const struct options *options)
{
	struct repairing repairing = { .dir = options->store_dir };

	return with_wait(options, do_repair, &repairing);
}

int cmd_verify(const struct options *options)
{
	struct finding f = { .damaged = options->json ? json_array() : NULL,
			     .repair = options->repair };
	struct store_verify_options how = { .generation = options_generation(options),
					    .data = options->data || options->repair,
					    .progress = show_progress,
					    .damage = on_damage,
					    .arg = &f };
	struct store_verify_result found = { 0 };
	struct store_view *view;
	struct store *store;
	int result, code;

	result = options->repair ? repair(options) : R_OK;
	if (result == R_OK)
		result = open_to_read(options, &store, &view);
	if (result != R_OK) {
		json_decref(f.damaged);
		return exit_code_of(result);
	}
	f.progress = bar_begin(options);
	result = store_verify(view, &how, &found);
	bar_end();
	print_loss(&f.loss);
	if (options->repair && (result == R_OK || result == R_DAMAGED) &&
	    store_note_damage(store, result == R_DAMAGED) != R_OK)
		result = R_FAILED;
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
