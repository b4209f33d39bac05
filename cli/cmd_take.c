#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/config.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"
#include "cli/target.h"
#include "engine/engine.h"
#include "engine/proc/stat.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct taking {
	struct store *store;
	struct take_options options;
	struct take_result result;
	bool predump_only;
};

static int do_take(void *arg)
{
	struct taking *t = arg;

	if (t->predump_only)
		return engine_predump(t->store, &t->options, &t->result.predump);
	return engine_take(t->store, &t->options, &t->result);
}

/* Without a name: that of the lineage this process is known under, else its command and pid. */
static int choose_lineage(const struct options *options, const struct target *target,
			  char name[LINEAGE_NAME_MAX])
{
	struct proc_stat stat;
	size_t i;
	int result;

	if (options->name_count > 0) {
		strcpy(name, options->names[options->name_count - 1]);
		return R_OK;
	}
	if (target_lineage(options->store_dir, target, name))
		return R_OK;
	result = proc_stat_read(target->pid, 0, &stat);
	if (result != R_OK)
		return result;
	snprintf(name, LINEAGE_NAME_MAX, "%s-%d", stat.comm, target->pid);
	for (i = 0; name[i]; i++)
		if (!isalnum((unsigned char)name[i]) && (i == 0 || !strchr("._-", name[i])))
			name[i] = i == 0 ? 'x' : '_';
	return R_OK;
}

static const char *rest_word(const struct take_result *r)
{
	return r->capture.method == CAPTURE_CLONE ? "clone" : "copy";
}

static const char *capture_word(const struct take_result *r)
{
	return r->predump.n ? "predump" : rest_word(r);
}

static json_t *json_of_round(const struct predump_round *round)
{
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "frozen_ns", (json_int_t)round->frozen_ns,
	    "wall_ns", (json_int_t)round->wall_ns, "bytes_read", (json_int_t)round->read_bytes,
	    "bytes_kept", (json_int_t)round->kept_bytes, "bytes_vanished",
	    (json_int_t)round->vanished_bytes, "bytes_stored", (json_int_t)round->stored_bytes,
	    "bytes_left", (json_int_t)round->left_bytes);
}

/* NULL without memory. */
static json_t *json_of_predump(const struct predump_summary *predump)
{
	json_t *rounds = json_array();

	for (size_t i = 0; i < predump->n; i++)
		json_array_append_new(rounds, json_of_round(&predump->rounds[i]));
	return json_pack("{s:I, s:o}", "number", (json_int_t)predump->number, "rounds", rounds);
}

static json_t *json_of_phases(const struct phase_times *times)
{
	json_t *object = json_object();

	for (int i = PHASE_NONE + 1; i < PHASE_COUNT; i++)
		json_object_set_new(object, phase_name((enum phase)i),
				    json_integer((json_int_t)times->ns[i]));
	return object;
}

static void json_add_files(json_t *object, const struct file_summary *files)
{
	json_object_set_new(object, "files_seen", json_integer((json_int_t)files->files));
	json_object_set_new(object, "files_known", json_integer((json_int_t)files->cached));
	json_object_set_new(object, "files_read", json_integer((json_int_t)files->read));
	json_object_set_new(object, "bytes_files_read",
			    json_integer((json_int_t)files->bytes_read));
	json_object_set_new(object, "files_stored", json_integer((json_int_t)files->stored));
	json_object_set_new(object, "bytes_files_stored",
			    json_integer((json_int_t)files->bytes_stored));
	json_object_set_new(object, "data_files", json_integer((json_int_t)files->data));
	json_object_set_new(object, "data_files_known", json_integer((json_int_t)files->data_kept));
	json_object_set_new(object, "data_files_torn", json_integer((json_int_t)files->data_torn));
	json_object_set_new(object, "bytes_data_files",
			    json_integer((json_int_t)files->bytes_data));
	json_object_set_new(object, "files_ns", json_integer((json_int_t)files->ns));
}

static const char *track_word(const struct track_summary *track)
{
	return !track->used ? "none" : track->soft_dirty ? "soft-dirty" : "wp";
}

static json_t *json_of_take(const struct take_result *r)
{
	const struct generation *gen = &r->gen;
	json_t *pids = json_array(), *object;
	size_t i;

	for (i = 0; i < r->n_pids; i++)
		json_array_append_new(pids, json_integer(r->pids[i]));
	object = json_generation(gen);
	if (!object)
		goto out;
	json_object_set(object, "pids", pids);
	json_object_set_new(object, "freezing_ns", json_integer((json_int_t)r->freezing_ns));
	json_object_set_new(object, "frozen_ns", json_integer((json_int_t)gen->frozen_ns));
	json_object_set_new(object, "frozen_total_ns",
			    json_integer((json_int_t)r->frozen_total_ns));
	json_object_set_new(object, "frozen_last_ns", json_integer((json_int_t)r->frozen_last_ns));
	json_object_set_new(object, "wall_ns", json_integer((json_int_t)gen->wall_ns));
	json_object_set_new(object, "pages_scanned", json_integer((json_int_t)gen->pages_scanned));
	json_object_set_new(object, "pages_new", json_integer((json_int_t)gen->pages_new));
	json_object_set_new(object, "pages_shared", json_integer((json_int_t)gen->pages_shared));
	json_object_set_new(object, "pages_zero", json_integer((json_int_t)gen->pages_zero));
	json_object_set_new(object, "bytes_stored", json_integer((json_int_t)gen->bytes_stored));
	json_add_bytes(object, gen);
	json_object_set_new(object, "capture", json_string(capture_word(r)));
	if (*r->capture.why)
		json_object_set_new(object, "capture_reason", json_string(r->capture.why));
	if (r->predump.n) {
		json_object_set_new(object, "capture_rest", json_string(rest_word(r)));
		json_object_set_new(object, "predump", json_of_predump(&r->predump));
	}
	json_object_set_new(object, "clones", json_integer((json_int_t)r->capture.clones));
	if (*r->capture.reason)
		json_object_set_new(object, "not_cloned", json_string(r->capture.reason));
	json_object_set_new(object, "tracking", json_string(track_word(&r->track)));
	json_object_set_new(object, "tracked_tasks", json_integer((json_int_t)r->track.tasks));
	json_object_set_new(object, "bytes_kept", json_integer((json_int_t)r->track.kept_bytes));
	json_object_set_new(object, "ghost_bytes_read",
			    json_integer((json_int_t)r->ghost_bytes_read));
	json_object_set_new(object, "tracking_misses",
			    json_integer((json_int_t)r->tracking_misses));
	json_object_set_new(object, "clone_misses", json_integer((json_int_t)r->clone_misses));
	if (*r->track.reason)
		json_object_set_new(object, "tracking_reason", json_string(r->track.reason));
	json_object_set_new(object, "frozen_phases_ns", json_of_phases(&r->phases));
	json_add_files(object, &r->files);
out:
	json_decref(pids);
	return object;
}

static void print_tracking(const struct track_summary *track)
{
	char kept[WORDS_MAX];

	if (track->used)
		note("tracking: %s not written since the last generation%s%s",
		     words_bytes(kept, track->kept_bytes), *track->reason ? "; " : "",
		     track->reason);
	else if (track->tasks)
		note("tracking: none used: everything was read and compared (%s); writes are noted "
		     "from now on",
		     track->reason);
	else if (*track->reason)
		note("tracking: not begun (%s)", track->reason);
}

static void print_predump(const struct predump_summary *predump)
{
	char read[WORDS_MAX], frozen[WORDS_MAX], stored[WORDS_MAX], left[WORDS_MAX];
	uint64_t read_bytes = 0, stored_bytes = 0, longest_ns = 0;

	for (size_t i = 0; i < predump->n; i++) {
		const struct predump_round *round = &predump->rounds[i];

		read_bytes += round->read_bytes;
		stored_bytes += round->stored_bytes;
		if (round->frozen_ns > longest_ns)
			longest_ns = round->frozen_ns;
	}
	if (predump->n == 0)
		return;
	note("read ahead: %s in %zu round%s, stored in %s, frozen for at most %s each; %s were "
	     "left",
	     words_bytes(read, read_bytes), predump->n, predump->n == 1 ? "" : "s",
	     words_bytes(stored, stored_bytes), words_duration(frozen, longest_ns),
	     words_bytes(left, predump->rounds[predump->n - 1].left_bytes));
}

static void print_take(const struct take_result *r)
{
	const struct generation *gen = &r->gen;
	char looked[WORDS_MAX], added[WORDS_MAX], stored[WORDS_MAX], frozen[WORDS_MAX],
	    wall[WORDS_MAX];

	printf("generation %llu\n", (unsigned long long)gen->number);
	fflush(stdout);
	note("%s: %u task%s, frozen %s of %s (capture: %s%s%s%s%s); %s looked at, %s of it new, "
	     "stored "
	     "in %s",
	     gen->lineage, gen->tasks, gen->tasks == 1 ? "" : "s",
	     words_duration(frozen, gen->frozen_ns), words_duration(wall, gen->wall_ns),
	     capture_word(r), *r->capture.why ? ", " : "", r->capture.why,
	     *r->capture.reason ? "; not cloned: " : "", r->capture.reason,
	     words_bytes(looked, gen->pages_scanned * PAGE_BYTES),
	     words_bytes(added, gen->pages_new * PAGE_BYTES),
	     words_bytes(stored, gen->bytes_stored));
	print_predump(&r->predump);
	print_tracking(&r->track);
	if (r->files.read)
		note(
		    "files: %zu of %zu read (%s); contents of %zu stored (%s before deduplication)",
		    r->files.read, r->files.files, words_bytes(looked, r->files.bytes_read),
		    r->files.stored, words_bytes(added, r->files.bytes_stored));
}

/* The generation is safe whatever becomes of gc: that one is busy is no failure of the take. */
static int thin_out(const struct options *options, struct store *store, const char *lineage,
		    json_t *object)
{
	json_t *json = NULL;
	int code;

	if (!options_have_policy(options))
		return EXIT_DONE;
	code = gc_in_store(options, store, lineage, false, object ? &json : NULL);
	if (json)
		json_object_set_new(object, "gc", json);
	if (code == EXIT_BUSY) {
		note("the generation is stored; old ones were not forgotten this time");
		return EXIT_DONE;
	}
	return code;
}

static int after_take(const struct options *options, const struct target *target, struct taking *t)
{
	json_t *object = NULL;
	int code = EXIT_DONE, printed;

	if (!options->kill)
		target_save(options->store_dir, t->options.lineage, target);
	if (options->json)
		object = json_of_take(&t->result);
	else if (!options->quiet)
		print_take(&t->result);
	if (!options->json || object)
		code = thin_out(options, t->store, t->options.lineage, object);
	if (options->json) {
		printed = output_json(object);
		if (code == EXIT_DONE)
			code = printed;
	}
	return code;
}

/* What a pre-dump that no take follows at once prints. */
static int after_predump(const struct options *options, const struct target *target,
			 const struct taking *t)
{
	json_t *object;

	target_save(options->store_dir, t->options.lineage, target);
	if (!options->json) {
		print_predump(&t->result.predump);
		return EXIT_DONE;
	}
	object = json_pack("{s:s, s:o}", "lineage", t->options.lineage, "predump",
			   json_of_predump(&t->result.predump));
	return output_json(object);
}

static enum capture_method capture_of(const struct options *options)
{
	static const enum capture_method captures[] = { CAPTURE_AUTO, CAPTURE_COPY, CAPTURE_PREDUMP,
							CAPTURE_CLONE };

	return options->pre_dump ? CAPTURE_PREDUMP : captures[options->capture];
}

int cmd_take(const struct options *options)
{
	static const enum tcp_policy policies[] = { TCP_CLOSE, TCP_CLOSE, TCP_KEEP, TCP_REFUSE };
	static const enum track_method tracks[] = { TRACK_AUTO, TRACK_NONE, TRACK_WP,
						    TRACK_SOFT_DIRTY };
	struct taking t = { 0 };
	struct key_source keys;
	char lineage[LINEAGE_NAME_MAX];
	struct target target;
	const char *paths[2 * WITH_PATHS_MAX];
	struct config config;
	int result, code;

	result = find_target(options, &target);
	if (result == R_OK)
		result = choose_lineage(options, &target, lineage);
	if (result == R_OK)
		result = config_load(options->store_dir, lineage, &config);
	if (result == R_OK)
		result = open_to_write(options, true, &t.store);
	if (result != R_OK)
		return exit_code_of(result);
	t.options = (struct take_options){ .pid = target.pid,
					   .lineage = lineage,
					   .tcp = policies[options->tcp],
					   .capture = capture_of(options),
					   .track = tracks[options->track],
					   .verify_tracking = options->verify_tracking,
					   .kill = options->kill,
					   .stop = options->stop,
					   .compare = options->compare,
					   .ghost_max_bytes = options->ghost_limit_bytes,
					   .cookie = (enum file_cookie)options->cookie,
					   .no_stored = options->no_stored || config.no_stored,
					   .with_files = options->with_files || config.with_files,
					   .with_paths = paths };
	if (!options->cookie)
		t.options.cookie = (enum file_cookie)config.cookie;
	for (size_t i = 0; i < options->with_path_count; i++)
		paths[t.options.n_with_paths++] = options->with_paths[i];
	for (size_t i = 0; i < config.n_paths; i++)
		paths[t.options.n_with_paths++] = config.paths[i];
	t.predump_only = options->pre_dump_only;
	keys = secrets_source(options, false);
	t.options.keys = &keys;
	t.options.progress = bar_begin(options);
	result = with_wait(options, do_take, &t);
	bar_end();
	code = exit_code_of(result);
	if (result == R_OK && t.predump_only) {
		code = after_predump(options, &target, &t);
	} else if (result == R_OK) {
		code = after_take(options, &target, &t);
		take_result_free(&t.result);
	}
	store_close(t.store);
	config_free(&config);
	return code;
}
