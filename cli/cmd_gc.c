#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "gc/gc.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000ull

struct gc_policy policy_of(const struct options *o)
{
	return (struct gc_policy){
		.keep_last = (unsigned)o->keep_last,
		.keep_hourly = (unsigned)o->keep_hourly,
		.keep_daily = (unsigned)o->keep_daily,
		.keep_weekly = (unsigned)o->keep_weekly,
		.keep_monthly = (unsigned)o->keep_monthly,
		.keep_yearly = (unsigned)o->keep_yearly,
		.keep_within_ns = o->keep_within_seconds * NS_PER_S,
		.lineage = o->name_count ? o->names[0] : NULL,
		.allow_empty = o->allow_empty,
	};
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

/* The plan as text, or both lists into `kept` and `forgotten`. */
static bool show_plan(const struct gc_plan *plan, const char *lineage, json_t *kept,
		      json_t *forgotten)
{
	size_t i, width = 0;

	for (i = 0; i < plan->n; i++)
		if (strlen(plan->items[i].gen.lineage) > width)
			width = strlen(plan->items[i].gen.lineage);
	for (i = 0; i < plan->n; i++) {
		const struct gc_item *item = &plan->items[i];
		char when[WORDS_MAX];
		json_t *object;

		if (lineage && strcmp(item->gen.lineage, lineage) != 0)
			continue;
		if (!kept) {
			printf("%-6s  %6llu  %-*s  %s  %s\n", item->kept ? "keep" : "forget",
			       (unsigned long long)item->gen.number, (int)width, item->gen.lineage,
			       words_time(when, item->gen.time_ns), item->reason);
			continue;
		}
		object =
		    json_pack("{s:I, s:s, s:I, s:s}", "generation", (json_int_t)item->gen.number,
			      "lineage", item->gen.lineage, "time_ns",
			      (json_int_t)item->gen.time_ns, "reason", item->reason);
		if (!object || json_array_append_new(item->kept ? kept : forgotten, object) < 0)
			return false;
	}
	return true;
}

struct gc_options gc_options_of(const struct options *o)
{
	return (struct gc_options){
		.allow_empty = o->allow_empty,
		.wait_ns = o->wait_seconds * NS_PER_S,
		.max_unused_percent =
		    o->max_unused_given ? (unsigned)o->max_unused_percent : GC_MAX_UNUSED_PERCENT,
		.max_rewrite_bytes = o->max_rewrite_bytes,
		.recompress = o->recompress,
	};
}

struct running {
	struct store *store;
	const struct gc_plan *plan;
	struct gc_options options;
	struct gc_result result;
};

static int do_run(void *arg)
{
	struct running *r = arg;

	return gc_run(r->store, r->plan, &r->options, &r->result);
}

int json_gc_result(json_t *object, const struct gc_result *r)
{
	json_t *counts = json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "bytes_dead", (json_int_t)r->bytes_dead,
	    "bytes_dead_left", (json_int_t)r->bytes_dead_left, "bytes_freed",
	    (json_int_t)r->bytes_freed, "bytes_rewritten", (json_int_t)r->bytes_rewritten,
	    "bytes_pending", (json_int_t)r->bytes_pending, "bytes_unused",
	    (json_int_t)r->bytes_unused, "pages_detached", (json_int_t)r->pages_detached);
	int failed = json_object_update(object, counts);

	json_decref(counts);
	return failed;
}

void print_gc_bytes(const struct gc_result *r)
{
	char freed[WORDS_MAX], written[WORDS_MAX], pending[WORDS_MAX];

	printf("freed %s", words_bytes(freed, r->bytes_freed));
	if (r->bytes_rewritten)
		printf(", wrote %s of it anew", words_bytes(written, r->bytes_rewritten));
	if (r->bytes_pending)
		printf("; %s more once nobody reads it, by the next gc",
		       words_bytes(pending, r->bytes_pending));
	printf("\n");
}

static int print_result(const struct options *options, const struct gc_result *r, bool dry)
{
	if (options->quiet)
		return EXIT_DONE;
	if (dry) {
		printf("nothing was changed (--dry-run)\n");
		return EXIT_DONE;
	}
	printf("kept %llu, forgot %llu, ", (unsigned long long)r->kept,
	       (unsigned long long)r->forgotten);
	print_gc_bytes(r);
	return EXIT_DONE;
}

/* Runs the plan and prints it.  Frees nothing. */
static int run_plan(const struct options *options, struct store *store, const struct gc_plan *plan,
		    const char *lineage, bool reasons, json_t **json)
{
	struct running r = { .store = store, .plan = plan, .options = gc_options_of(options) };
	json_t *kept = json ? json_array() : NULL, *forgotten = json ? json_array() : NULL;
	int result = R_OK;

	if (json || (reasons && !options->quiet)) {
		if (!show_plan(plan, lineage, kept, forgotten)) {
			warn("out of memory");
			result = R_FAILED;
			goto out;
		}
	}
	if (!options->dry_run) {
		r.options.progress = bar_begin(options);
		result = with_wait(options, do_run, &r);
		bar_end();
	}
	if (result != R_OK)
		goto out;
	if (json) {
		*json = json_pack("{s:O, s:O, s:b}", "kept", kept, "forgotten", forgotten,
				  "dry_run", options->dry_run);
		if (!*json || json_gc_result(*json, &r.result)) {
			warn("out of memory");
			result = R_FAILED;
		}
	} else
		print_result(options, &r.result, options->dry_run);
out:
	json_decref(kept);
	json_decref(forgotten);
	return exit_code_of(result);
}

int gc_in_store(const struct options *options, struct store *store, const char *lineage,
		bool reasons, json_t **json)
{
	struct gc_policy policy = policy_of(options);
	struct store_view *view;
	struct gc_plan *plan;
	int result, code;

	policy.lineage = lineage;
	result = store_view_open(store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = gc_plan_policy(view, &policy, now_ns(), &plan);
	store_view_close(view); /* before gc_run: it waits for views */
	if (result != R_OK)
		return exit_code_of(result);
	code = run_plan(options, store, plan, lineage, reasons, json);
	gc_plan_free(plan);
	return code;
}

int cmd_gc(const struct options *options)
{
	const char *lineage = options->name_count ? options->names[0] : NULL;
	struct generation gen;
	struct store_view *view;
	json_t *json = NULL;
	struct store *store;
	int result, code;

	result = open_to_write(options, false, &store);
	if (result != R_OK)
		return exit_code_of(result);
	if (lineage) { /* a misspelt name would look like success */
		result = store_view_open(store, &view);
		if (result == R_OK) {
			result = find_generation(options, view, &gen);
			store_view_close(view);
		}
	}
	code = exit_code_of(result);
	if (result == R_OK)
		code = gc_in_store(options, store, lineage, options_have_policy(options),
				   options->json ? &json : NULL);
	store_close(store);
	if (code == EXIT_DONE && options->json)
		return output_json(json);
	return code;
}
