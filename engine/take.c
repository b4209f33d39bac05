#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/boot_id.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/capture.h"
#include "engine/proc/capture/predump.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/capture/track_record.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/files/data_ahead.h"
#include "engine/proc/mounts.h"
#include "engine/proc/phases.h"
#include "engine/take_internal.h"
#include "store/keys.h"

/* What is kept in memory while the tree stands still, and how much of that is there beforehand. */
#define SPOOL_MAX_BYTES ((size_t)256 << 20)
#define SPOOL_READY_BYTES ((size_t)16 << 20)
/* The same when what is left was counted a moment ago. */
#define SPOOL_COUNTED_BYTES ((size_t)8 << 20)
/* From so much on it is read ahead; with tracking that has begun, a round stops it for 2 ms. */
#define PREDUMP_BYTES ((uint64_t)24 << 20)
#define PREDUMP_PROVEN_BYTES ((uint64_t)6 << 20)

uint64_t take_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int list_pids(const struct tree *tree, struct take_result *result)
{
	result->pids = calloc(tree->task_count, sizeof(*result->pids));
	if (!result->pids) {
		warn("no memory for a list of %zu tasks", tree->task_count);
		return R_FAILED;
	}
	for (size_t i = 0; i < tree->task_count; i++)
		result->pids[i] = tree->tasks[i].pid;
	result->n_pids = tree->task_count;
	return R_OK;
}

int take_describe(const struct tree *tree, const struct take_options *opts, struct generation *gen)
{
	snprintf(gen->lineage, sizeof(gen->lineage), "%s", opts->lineage);
	gen->root_pid = (uint32_t)opts->pid;
	gen->root_start = tree->tasks[0].start_time;
	gen->tasks = (uint32_t)tree->task_count;
	return boot_id_read(gen->boot_id);
}

/* One take; what is there is undone by end(). */
struct taking {
	const struct take_options *opts;
	struct take_result *result;
	uint64_t start_ns;
	struct ingest *ingest;
	struct tree tree;
	struct dump_ctx ctx;
	struct fds_hold *hold; /* connections of a tree that is going to be ended */
	struct capture *capture;
	struct track *track;
	struct fds_prepared *prepared;
	bool damage_noted;
	struct file_memory *memory;
	struct data_ahead *ahead;
	struct data_take *data;
	struct store_keys *keys; /* to secret memory; NULL: not opened */
	bool wants_keys;	 /* it has been found that they are needed */
};

/* A tree that shall not run on need not be spared. */
static bool runs_on(const struct taking *t)
{
	return !t->opts->kill && !t->opts->stop;
}

/* Which files are put back with the target. */
static struct data_options data_options(const struct taking *t)
{
	return (struct data_options){
		.written = t->opts->with_files,
		.paths = t->opts->with_paths,
		.n_paths = t->opts->n_with_paths,
		.read_all = t->damage_noted || t->opts->compare,
		/* One that stands still until the end gains nothing. */
		.clone = runs_on(t),
		.frozen_at_ns = t->result->gen.time_ns,
	};
}

/* As much as can be read before is; what has changed since, when nobody in the tree can write. */
static int read_data_ahead(struct taking *t)
{
	const struct data_options options = data_options(t);

	if (!options.written && !options.n_paths)
		return R_OK;
	return data_ahead_read(t->ingest, t->opts->pid, t->memory, &options, &t->ahead);
}

static int take_data(struct taking *t)
{
	const struct data_options options = data_options(t);

	if (!options.written && !options.n_paths)
		return R_OK;
	return data_take(&t->ctx, t->memory, &options, t->ahead, &t->result->files, &t->data);
}

/* A passphrase that has to be typed, or made a key of, is not waited for while the tree stands
 * still: R_BUSY, and the take begins anew with the key. */
static int need_keys(struct taking *t)
{
	size_t n;

	t->ctx.keys = t->keys;
	fds_take_secrets(t->ctx.fds, &n);
	t->wants_keys = n > 0 && !t->keys;
	return t->wants_keys ? R_BUSY : R_OK;
}

/* Everything that is done while the tree stands still. */
static int copy_tree(struct taking *t)
{
	struct dump_ctx *ctx = &t->ctx;
	int rc;

	phase_enter(PHASE_PROC);
	rc = dump_begin(ctx, &t->tree, t->ingest, t->opts->ghost_max_bytes);

	ctx->progress = t->opts->progress;
	ctx->track = t->track;
	ctx->verify_tracking = t->opts->verify_tracking;
	if (rc == R_OK) {
		fds_take_set_tcp(ctx->fds, t->opts->tcp, t->opts->kill);
		fds_take_set_prepared(ctx->fds, t->prepared);
	}
	if (rc == R_OK)
		rc = list_pids(&t->tree, t->result);
	if (rc == R_OK)
		rc = take_describe(&t->tree, t->opts, &t->result->gen);
	if (rc == R_OK)
		rc = dump_collect(ctx);
	if (rc == R_OK)
		rc = need_keys(t);
	if (rc == R_OK)
		rc = take_data(t);
	phase_enter(PHASE_TRACKING);
	if (rc == R_OK && runs_on(t))
		rc = track_protect(t->track, ctx);
	phase_enter(PHASE_CLONE);
	if (rc == R_OK)
		rc = capture_tree(ctx, runs_on(t) ? t->opts->capture : CAPTURE_COPY, &t->capture);
	ctx->capture = t->capture;
	if (rc == R_OK)
		rc = dump_store(ctx);
	if (rc != R_OK)
		return rc;
	phase_enter(PHASE_FILES);
	t->result->ghost_bytes_read = fds_take_ghost_bytes(ctx->fds);
	t->hold = fds_take_hold(ctx->fds);
	fds_take_close(ctx->fds);
	return R_OK;
}

/* What each level tells is in docs/files.md. */
static int take_files(struct taking *t)
{
	int rc = t->data ? data_take_finish(t->data) : R_OK;
	static const enum cookie_level levels[] = {
		[FILE_COOKIE_DEFAULT] = COOKIE_BUILD_ID,  [FILE_COOKIE_STAT] = COOKIE_STAT,
		[FILE_COOKIE_BUILD_ID] = COOKIE_BUILD_ID, [FILE_COOKIE_SAMPLED] = COOKIE_SAMPLED,
		[FILE_COOKIE_FULL] = COOKIE_FULL,
	};
	const struct files_options options = {
		.level = levels[t->opts->cookie],
		.store_mapped = !t->opts->no_stored,
		.read_all = t->damage_noted || t->opts->compare,
		.memory = t->memory,
		.frozen_at_ns = t->result->gen.time_ns,
	};

	return rc == R_OK ? files_take(&t->ctx, &options, &t->result->files) : rc;
}

/* What is told is what the target sees: each stop counts, those for reading ahead too. */
static void tell_frozen(struct take_result *result, uint64_t last_ns)
{
	result->frozen_last_ns = last_ns;
	result->frozen_total_ns = last_ns;
	result->gen.frozen_ns = last_ns;
	for (size_t i = 0; i < result->predump.n; i++) {
		uint64_t ns = result->predump.rounds[i].frozen_ns;

		result->frozen_total_ns += ns;
		if (ns > result->gen.frozen_ns)
			result->gen.frozen_ns = ns;
	}
}

/*
 * A tree that shall not run on is held until the generation is safe; any other runs on before the
 * commit, whose waiting for the disk is no concern of its.
 */
static int commit_held(struct taking *t)
{
	struct generation *gen = &t->result->gen;
	int rc = take_files(t);

	tell_frozen(t->result, take_clock_ns(CLOCK_MONOTONIC) - t->tree.first_stop_ns);
	gen->wall_ns = take_clock_ns(CLOCK_MONOTONIC) - t->start_ns;
	if (rc == R_OK)
		rc = fds_take_store(t->ctx.fds);
	if (rc == R_OK)
		rc = ingest_commit(t->ingest, gen);
	if (rc != R_OK) {
		fds_hold_end(t->hold, false);
		tree_release(&t->tree);
		return rc;
	}
	t->ingest = NULL;
	if (t->opts->kill) {
		rc = tree_kill(&t->tree);
		fds_hold_end(t->hold, true);
		return rc;
	}
	rc = tree_stop(&t->tree);
	if (tree_release(&t->tree) != R_OK)
		rc = R_FAILED;
	return rc;
}

static int commit_running(struct taking *t)
{
	struct generation *gen = &t->result->gen;
	int rc = tree_release(&t->tree);

	tell_frozen(t->result, t->tree.frozen_ns);
	if (rc == R_OK)
		rc = ingest_unspool(t->ingest);
	if (rc == R_OK)
		rc = capture_store(t->capture);
	if (rc == R_OK)
		rc = fds_take_store(t->ctx.fds);
	/* The target copies no more pages for it. */
	capture_end(t->capture, &t->result->capture);
	t->capture = NULL;
	if (rc == R_OK)
		rc = take_files(t);
	gen->wall_ns = take_clock_ns(CLOCK_MONOTONIC) - t->start_ns;
	t->result->tracking_misses = ingest_misses(t->ingest);
	t->result->clone_misses = t->ctx.clone_misses;
	if (rc == R_OK)
		rc = ingest_commit(t->ingest, gen);
	if (rc == R_OK)
		t->ingest = NULL;
	return rc;
}

void take_newest_point(const struct ingest *ingest, const struct take_options *opts,
		       struct track_point *point)
{
	memset(point, 0, sizeof(*point));
	point->generation = ingest_newest(ingest, point->store);
	snprintf(point->lineage, sizeof(point->lineage), "%s", opts->lineage);
}

/* What to make room for before anything stands still. */
static uint64_t expected_bytes(const struct taking *t)
{
	const struct predump_summary *predump = &t->result->predump;

	return predump->n ? SPOOL_COUNTED_BYTES + predump->rounds[predump->n - 1].left_bytes
			  : SPOOL_READY_BYTES + track_expected_bytes(t->track);
}

/* Freezes, copies and commits. */
static int take(struct taking *t)
{
	struct track_point point;
	int rc = R_OK;

	take_newest_point(t->ingest, t->opts, &point);
	/* Nothing is taken on trust where all is to be compared. */
	track_begin(t->opts->pid, t->opts->compare ? TRACK_NONE : t->opts->track, &point,
		    &t->track);
	rc = fds_prepare(t->ingest, t->opts->pid, &t->prepared);
	if (rc == R_OK)
		rc = mounts_take(t->ingest, t->opts->pid);
	if (rc == R_OK)
		rc = read_data_ahead(t);
	if (rc == R_OK && runs_on(t))
		rc = ingest_spool(t->ingest, SPOOL_MAX_BYTES, expected_bytes(t));
	dump_ready(1);
	phase_collect(&t->result->phases); /* of reading ahead */
	if (rc == R_OK)
		rc = tree_freeze(t->opts->pid, &t->tree);
	if (rc != R_OK)
		return rc;
	t->result->freezing_ns = take_clock_ns(CLOCK_MONOTONIC) - t->tree.first_stop_ns;
	t->result->gen.time_ns = (int64_t)take_clock_ns(CLOCK_REALTIME);
	rc = copy_tree(t);
	if (rc == R_OK)
		rc = runs_on(t) ? commit_running(t) : commit_held(t);
	else
		tree_release(&t->tree);
	capture_end(t->capture, &t->result->capture);
	phase_collect(&t->result->phases);
	if (rc == R_OK) {
		if (runs_on(t)) {
			point.generation = t->result->gen.number;
			track_commit(t->track, &point);
		}
		track_summarize(t->track, &t->ctx, &t->result->track);
	}
	data_take_end(t->data);
	dump_end(&t->ctx);
	return rc;
}

/*
 * By what is going to be read, about.  Copying takes a quarter of a ms a MiB, and a clone 0.07 ms
 * for each MiB there is, while a round of reading ahead costs one stop more, of the same 5 ms or so
 * that a take stops for at least.
 */
static bool wants_predump(struct store *store, const struct take_options *opts,
			  char why[sizeof(((struct capture_summary *)0)->why)])
{
	struct predump_estimate estimate = { .least_bytes = track_least_bytes(opts->track) };
	struct track_point point = { 0 };
	bool enough;

	if (opts->capture != CAPTURE_AUTO)
		return opts->capture == CAPTURE_PREDUMP;
	/* Without tracking all would be read again; a tree that is to end need not be spared. */
	if (opts->track == TRACK_NONE || opts->compare || opts->kill || opts->stop ||
	    lineage_newest(store, opts->lineage, point.store, &point.generation) != R_OK)
		return false;
	snprintf(point.lineage, sizeof(point.lineage), "%s", opts->lineage);
	estimate.proven = track_is_proven(opts->pid, &point);
	estimate.enough = estimate.proven ? PREDUMP_PROVEN_BYTES : PREDUMP_BYTES;
	predump_estimate(&estimate, opts->pid);
	dump_ready(estimate.tasks);
	enough = estimate.worth >= estimate.enough;
	snprintf(why, sizeof(((struct capture_summary *)0)->why), "%s %llu MiB to be read",
		 enough ? "at least" : "about", (unsigned long long)(estimate.bytes >> 20));
	return enough;
}

/* One try.  Everything but what is in `result` is let go of in any case. */
static int try_take(struct store *store, struct taking *t)
{
	int rc = ingest_begin(store, t->opts->lineage, &t->ingest);

	if (rc == R_OK && t->opts->compare)
		ingest_compare(t->ingest);
	if (rc == R_OK) {
		uint64_t begun = take_clock_ns(CLOCK_MONOTONIC);

		t->memory = file_memory_load(t->ingest);
		t->result->files.ns = take_clock_ns(CLOCK_MONOTONIC) - begun;
	}
	if (rc == R_OK)
		rc = take(t);
	track_end(t->track);
	fds_prepared_end(t->prepared);
	data_ahead_end(t->ahead);
	file_memory_free(t->memory);
	if (t->ingest)
		ingest_abort(t->ingest);
	if (rc == R_OK)
		/* What the record holds could not include its own commit. */
		t->result->gen.wall_ns = take_clock_ns(CLOCK_MONOTONIC) - t->start_ns;
	else
		take_result_free(t->result);
	return rc;
}

int engine_take(struct store *store, const struct take_options *opts, struct take_result *result)
{
	static const struct key_source nowhere;
	const struct key_source *source = opts->keys ? opts->keys : &nowhere;
	const struct taking fresh = {
		.opts = opts,
		.result = result,
		.start_ns = take_clock_ns(CLOCK_MONOTONIC),
		.damage_noted = store_damage_noted(store),
	};
	struct taking t = fresh;
	char why[sizeof(result->capture.why)] = "";
	int rc;

	memset(result, 0, sizeof(*result));
	rc = dump_check_root(opts->pid);
	if (rc == R_OK && wants_predump(store, opts, why))
		rc = engine_predump(store, opts, &result->predump);
	if (rc == R_OK) {
		t.keys = store_keys_at_hand(store, source);
		rc = try_take(store, &t);
	}
	if (t.wants_keys) {
		t = fresh;
		rc = store_keys_open(store, source, true, &t.keys);
		if (rc == R_UNSUPPORTED)
			warn("pid %d: the tree has secret memory (memfd_secret), which is stored "
			     "only encrypted, and there is no key; nothing was taken",
			     opts->pid);
		if (rc == R_OK)
			rc = try_take(store, &t);
	}
	store_keys_close(t.keys);
	memcpy(result->capture.why, why, sizeof(why));
	return rc;
}

void take_result_free(struct take_result *result)
{
	free(result->pids);
	result->pids = NULL;
	result->n_pids = 0;
}
