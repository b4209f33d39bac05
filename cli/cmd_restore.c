#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/target.h"
#include "engine/engine.h"

#include <stdio.h>
#include <sys/wait.h>

struct restoring {
	struct store *store;
	struct restore_options options;
	struct restore_result result;
};

static int do_restore(void *arg)
{
	struct restoring *r = arg;

	return engine_restore(r->store, &r->options, &r->result);
}

static int print_restored(const struct options *options, const struct restore_result *r)
{
	char wall[WORDS_MAX];
	json_t *object;

	if (options->json) {
		object = json_pack("{s:I, s:i, s:I}", "generation", (json_int_t)r->generation,
				   "root_pid", (int)r->root_pid, "wall_ns", (json_int_t)r->wall_ns);
		if (object && options->foreground && WIFEXITED(r->status))
			json_object_set_new(object, "exit_status",
					    json_integer(WEXITSTATUS(r->status)));
		if (object && options->foreground && WIFSIGNALED(r->status))
			json_object_set_new(object, "signal", json_integer(WTERMSIG(r->status)));
		return output_json(object);
	}
	if (options->quiet)
		return EXIT_DONE;
	printf("%d\n", r->root_pid);
	fflush(stdout);
	note("generation %llu is back as process %d after %s", (unsigned long long)r->generation,
	     r->root_pid, words_duration(wall, r->wall_ns));
	return EXIT_DONE;
}

static int restore_generation(const struct options *options, struct store *store,
			      const struct generation *gen)
{
	struct restoring r = { .store = store,
			       .options = { .generation = gen->number,
					    .replace = options->replace,
					    .foreground = options->foreground } };
	struct target target;
	int result, code;

	if (options->replace && target_load(options->store_dir, gen->lineage, &target) == R_OK &&
	    target_alive(&target)) {
		r.options.living_pid = target.pid;
		r.options.living_start = target.start;
	}
	bar_begin(options);
	result = with_wait(options, do_restore, &r);
	bar_end();
	if (result != R_OK)
		return exit_code_of(result);
	/* Gone again already is possible and no fault. */
	if (!options->foreground && target_of_pid(r.result.root_pid, &target) == R_OK)
		target_save(options->store_dir, gen->lineage, &target);
	code = print_restored(options, &r.result);
	return code;
}

int cmd_restore(const struct options *options)
{
	struct generation gen;
	struct store_view *view;
	struct store *store;
	int result, code;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = find_generation(options, view, &gen);
	store_view_close(view);
	code = result == R_OK ? restore_generation(options, store, &gen) : exit_code_of(result);
	store_close(store);
	return code;
}
