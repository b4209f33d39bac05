/* snap inspect: what a generation holds of its processes. */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/looking.h"
#include "cli/tree_text.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

static struct describe wanted(const struct options *o)
{
	return (struct describe){ .environment = o->all || o->environment,
				  .files = o->all || o->open_files,
				  .sockets = o->sockets,
				  .mappings = o->all || o->mappings,
				  .entropy = true,
				  .credentials = o->all || o->credentials,
				  .threads = o->all || o->registers,
				  .stacks = o->all || o->stacks };
}

struct finding {
	const struct generation *of;
	struct generation found;
};

static int find_before(const struct generation *gen, void *arg)
{
	struct finding *f = arg;

	if (gen->number < f->of->number && strcmp(gen->lineage, f->of->lineage) == 0)
		f->found = *gen;
	return 0;
}

/* The generation of the same lineage before this one; NULL if this is the first that is kept. */
static int open_before(const struct look *look, struct look **before)
{
	struct finding f = { .of = &look->gen };
	int rc = store_generation_each(look->view, find_before, &f);

	return rc == R_OK && f.found.number ? look_open(look->view, &f.found, before) : rc;
}

static int describe_all(const struct options *options, const struct look *look, json_t *list)
{
	struct describe what = wanted(options);
	struct look *before = NULL;
	int rc = what.mappings ? open_before(look, &before) : R_OK;

	what.before = before;
	for (size_t i = 0; rc == R_OK && i < look->n_tasks; i++) {
		json_t *one;

		if (options->pid && look->tasks[i].pid != (uint32_t)options->pid)
			continue;
		rc = describe_task(look, &look->tasks[i], &what, &one);
		if (rc == R_OK)
			json_array_append_new(list, one);
	}
	look_close(before);
	return rc;
}

static void print_text(const struct generation *gen, json_t *list)
{
	char a[WORDS_MAX], b[WORDS_MAX], c[WORDS_MAX];
	json_t *process;
	size_t i;

	printf("generation %llu of %s, %s\n", (unsigned long long)gen->number, gen->lineage,
	       words_time(a, gen->time_ns));
	printf("%u task%s, %s in %llu pages, frozen %s\n", gen->tasks, gen->tasks == 1 ? "" : "s",
	       words_bytes(b, gen->bytes_logical), (unsigned long long)gen->pages_scanned,
	       words_duration(c, gen->frozen_ns));
	json_array_foreach(list, i, process)
	{
		tree_text_line(process);
		putchar('\n');
		tree_text("", process);
	}
}

int cmd_inspect(const struct options *options)
{
	struct looking looking;
	json_t *list, *facts;
	int result, code = EXIT_DONE;

	result = looking_open(options, &looking);
	if (result != R_OK)
		return exit_code_of(result);
	list = json_array();
	if (options->pid && !looking_task(options, looking.look))
		result = R_NOT_FOUND;
	if (result == R_OK)
		result = describe_all(options, looking.look, list);
	if (result == R_OK && options->json) {
		facts = json_generation(&looking.look->gen);
		json_object_set(facts, "processes", list);
		code = output_json(facts);
	} else if (result == R_OK) {
		print_text(&looking.look->gen, list);
	}
	json_decref(list);
	looking_close(&looking);
	return result == R_OK ? code : exit_code_of(result);
}
