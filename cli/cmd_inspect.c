/* snap inspect: what a generation, a dump or an archive holds of its processes. */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/looking.h"
#include "cli/outside.h"
#include "cli/tree_text.h"

#include "base/result.h"
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
	struct look_queues *queues = NULL;
	int rc = what.mappings ? open_before(look, &before) : R_OK;

	if (rc == R_OK && (what.files || what.sockets))
		rc = look_queues_load(look, &queues);
	what.before = before;
	what.queues = queues;
	for (size_t i = 0; rc == R_OK && i < look->n_tasks; i++) {
		json_t *one;

		if (options->pid && look->tasks[i].pid != (uint32_t)options->pid)
			continue;
		rc = describe_task(look, &look->tasks[i], &what, &one);
		if (rc == R_OK)
			json_array_append_new(list, one);
	}
	look_queues_free(queues);
	look_close(before);
	return rc;
}

static bool same_number(json_t *a, const char *key_a, json_t *b, const char *key_b)
{
	return json_integer_value(json_object_get(a, key_a)) ==
	       json_integer_value(json_object_get(b, key_b));
}

static bool has_parent(json_t *list, json_t *process)
{
	json_t *other;
	size_t i;

	json_array_foreach(list, i,
			   other) if (other != process &&
				      same_number(other, "pid", process, "ppid")) return true;
	return false;
}

#define DEPTH_MAX 40 /* of what is indented, and of processes that are each other's parents */

static void print_process(json_t *list, json_t *process, unsigned int depth)
{
	char indent[4 * DEPTH_MAX + 1];
	json_t *other;
	size_t i;

	snprintf(indent, sizeof(indent), "%*s", (int)(4 * depth), "");
	printf("%s", indent);
	tree_text_line(process);
	putchar('\n');
	tree_text(indent, process);
	json_array_foreach(list, i, other) if (depth < DEPTH_MAX && other != process &&
					       same_number(other, "ppid", process, "pid"))
	    print_process(list, other, depth + 1);
}

static void print_text(const struct options *options, const struct generation *gen, json_t *about,
		       json_t *list)
{
	char a[WORDS_MAX], b[WORDS_MAX], c[WORDS_MAX];
	json_t *process;
	size_t i;

	if (options->n_operands)
		tree_text_string(options->operands[0]);
	else
		printf("generation %llu of %s", (unsigned long long)gen->number, gen->lineage);
	printf(", %s\n", words_time(a, gen->time_ns));
	printf("%u task%s, %s in %llu pages", gen->tasks, gen->tasks == 1 ? "" : "s",
	       words_bytes(b, gen->bytes_logical), (unsigned long long)gen->pages_scanned);
	if (gen->frozen_ns) /* of what criu froze, its own statistics tell */
		printf(", frozen %s", words_duration(c, gen->frozen_ns));
	putchar('\n');
	if (!json_array_size(json_object_get(about, "mounts")))
		json_object_del(about, "mounts");
	tree_text("", about);
	json_array_foreach(list, i, process) if (!has_parent(list, process))
	    print_process(list, process, 0);
}

/* What is told of the generation as a whole. */
static int describe_whole(const struct options *options, const struct look *look, json_t *about)
{
	json_t *part;
	int rc = describe_container(look, &part);

	if (rc == R_OK && part)
		json_object_set_new(about, "container", part);
	if (rc == R_OK)
		rc = describe_statistics(look, &part);
	if (rc == R_OK)
		json_object_set_new(about, "statistics", part);
	if (rc == R_OK && (options->all || options->mounts)) {
		rc = describe_mounts(look, &part);
		if (rc == R_OK)
			json_object_set_new(about, "mounts", part);
	}
	return rc;
}

/* Of what is in no store there is no generation to be named. */
static json_t *facts_of(const struct options *options, const struct look *look)
{
	json_t *facts = json_generation(&look->gen);

	if (!options->n_operands)
		return facts;
	json_object_del(facts, "generation");
	json_object_del(facts, "lineage");
	json_object_del(facts, "pinned");
	json_object_set_new(facts, "path",
			    describe_text(options->operands[0], strlen(options->operands[0])));
	return facts;
}

static int inspect(const struct options *options)
{
	struct looking looking;
	json_t *list, *about, *facts;
	int result, code = EXIT_DONE;

	result = looking_open(options, &looking);
	if (result != R_OK)
		return exit_code_of(result);
	list = json_array();
	about = json_object();
	if (options->pid && !looking_task(options, looking.look))
		result = R_NOT_FOUND;
	if (result == R_OK)
		result = describe_whole(options, looking.look, about);
	if (result == R_OK)
		result = describe_all(options, looking.look, list);
	if (result == R_OK && options->json) {
		facts = facts_of(options, looking.look);
		json_object_update(facts, about);
		json_object_set(facts, "processes", list);
		code = output_json(facts);
	} else if (result == R_OK) {
		print_text(options, &looking.look->gen, about, list);
	}
	json_decref(about);
	json_decref(list);
	looking_close(&looking);
	return result == R_OK ? code : exit_code_of(result);
}

int cmd_inspect(const struct options *options)
{
	return options->n_operands ? outside_run(options, options->operands[0], inspect)
				   : inspect(options);
}
