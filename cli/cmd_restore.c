#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/secrets.h"
#include "cli/target.h"
#include "engine/engine.h"

#include <stdio.h>
#include <sys/wait.h>

struct restoring {
	const struct options *cli;
	const char *lineage;
	struct store *store;
	struct restore_options options;
	struct restore_result result;
	json_t *differences; /* with --json */
};

static int do_restore(void *arg)
{
	struct restoring *r = arg;

	/* What a try before this one told. */
	json_array_clear(r->differences);
	return engine_restore(r->store, &r->options, &r->result);
}

/* All tasks run.  Notes the new target, and in the foreground hands it the signals. */
static void on_running(const struct restore_result *result, void *arg)
{
	const struct restoring *r = arg;
	struct target before, now;
	char wall[WORDS_MAX];

	bar_end();
	/* That it is gone again already is possible and no fault. */
	if (target_of_pid(result->root_pid, &now) == R_OK) {
		if (target_load(r->cli->store_dir, r->lineage, &before) == R_OK)
			target_follow(r->cli->store_dir, &before, &now);
		target_save(r->cli->store_dir, r->lineage, &now);
	}
	if (r->options.foreground)
		interrupt_pass_on(result->root_pid);
	if (r->cli->json || r->cli->quiet)
		return;
	printf("%d\n", result->root_pid);
	fflush(stdout);
	note("generation %llu is back as process %d after %s",
	     (unsigned long long)result->generation, result->root_pid,
	     words_duration(wall, result->wall_ns));
	if (r->options.with_files)
		note("%zu file%s put back", result->files_back, result->files_back == 1 ? "" : "s");
}

static const char *outcome_word(enum file_outcome outcome)
{
	switch (outcome) {
	case FILE_REFUSED:
		return "refused";
	case FILE_FROM_STORE:
		return "stored";
	case FILE_IGNORED:
		return "ignored";
	default:
		return "accepted";
	}
}

static json_t *string_or_marks(const char *text)
{
	json_t *string = json_string(text);

	/* A path may be any bytes. */
	return string ? string : json_string("?");
}

static void on_difference(const struct file_difference *d, void *arg)
{
	struct restoring *r = arg;
	json_t *kinds = json_array(), *row;

	for (size_t i = 0; i < d->n_kinds; i++)
		json_array_append_new(kinds, json_string(d->kinds[i]));
	row = json_pack("{s:o, s:o, s:s, s:b, s:s}", "path", string_or_marks(d->path), "differs",
			kinds, "text", d->text, "stored", d->stored, "outcome",
			outcome_word(d->outcome));
	if (row && d->renamed_to)
		json_object_set_new(row, "renamed_to", string_or_marks(d->renamed_to));
	json_array_append_new(r->differences, row);
}

/* What was found about files is a finding also where nothing was restored. */
static int print_refusal(const struct restoring *r)
{
	return output_json(json_pack("{s:I, s:s, s:O}", "generation",
				     (json_int_t)r->options.generation, "lineage", r->lineage,
				     "files", r->differences));
}

static int print_json(const struct restoring *r)
{
	const struct restore_result *result = &r->result;
	json_t *object = json_pack(
	    "{s:I, s:s, s:i, s:I}", "generation", (json_int_t)result->generation, "lineage",
	    r->lineage, "root_pid", (int)result->root_pid, "wall_ns", (json_int_t)result->wall_ns);

	if (object) {
		json_object_set(object, "files", r->differences);
		json_object_set_new(object, "files_back",
				    json_integer((json_int_t)result->files_back));
	}
	if (object && r->options.foreground && WIFEXITED(result->status))
		json_object_set_new(object, "exit_status",
				    json_integer(WEXITSTATUS(result->status)));
	if (object && r->options.foreground && WIFSIGNALED(result->status))
		json_object_set_new(object, "signal", json_integer(WTERMSIG(result->status)));
	return output_json(object);
}

static void note_end(const struct restore_result *result)
{
	if (WIFEXITED(result->status))
		note("process %d ended with status %d", result->root_pid,
		     WEXITSTATUS(result->status));
	else if (WIFSIGNALED(result->status))
		note("process %d was ended by signal %d", result->root_pid,
		     WTERMSIG(result->status));
}

/* As a shell tells it. */
static int exit_code_of_root(int status)
{
	if (WIFSIGNALED(status))
		return EXIT_OF_TARGET + EXIT_SIGNAL + WTERMSIG(status);
	return EXIT_OF_TARGET + WEXITSTATUS(status);
}

/* Restores, prints, and gives the exit code. */
static int do_and_tell(const struct options *options, struct restoring *r)
{
	int result, code;

	r->options.progress = bar_begin(options);
	result = with_wait(options, do_restore, r);
	bar_end();
	interrupt_pass_on(0);
	if (result != R_OK) {
		code = exit_code_of(result);
		if (options->json && result == R_UNSUPPORTED && json_array_size(r->differences))
			print_refusal(r);
		return code;
	}
	if (options->json) {
		code = print_json(r);
		if (code != EXIT_DONE)
			return code;
	} else if (options->foreground) {
		note_end(&r->result);
	}
	return options->foreground ? exit_code_of_root(r->result.status) : EXIT_DONE;
}

static int restore_generation(const struct options *options, struct store *store,
			      const struct generation *gen)
{
	static const enum restore_files policies[] = { RESTORE_FILES_STRICT, RESTORE_FILES_STRICT,
						       RESTORE_FILES_STORED, RESTORE_FILES_IGNORE };
	struct restoring r = { .cli = options,
			       .lineage = gen->lineage,
			       .store = store,
			       .options = { .generation = gen->number,
					    .replace = options->replace,
					    .foreground = options->foreground,
					    .files = policies[options->files],
					    .with_files = options->with_files,
					    .running = on_running,
					    .arg = &r } };
	struct target target;
	struct key_source keys = secrets_source(options, false);
	int code;

	if (options->replace && target_load(options->store_dir, gen->lineage, &target) == R_OK &&
	    target_alive(&target)) {
		if (runs_below(target.pid)) {
			warn("snap itself runs below process %d, which --replace would end: call "
			     "it from outside of that tree",
			     target.pid);
			return EXIT_UNSUPPORTED;
		}
		r.options.living_pid = target.pid;
		r.options.living_start = target.start;
	}
	r.options.keys = &keys;
	if (options->json) {
		r.differences = json_array();
		r.options.difference = on_difference;
	}
	code = do_and_tell(options, &r);
	json_decref(r.differences);
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
