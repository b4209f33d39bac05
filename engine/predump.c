#include "engine/engine.h"

#include <string.h>
#include <time.h>

#include "base/result.h"
#include "dedup/dedup.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/files/files.h"
#include "engine/proc/capture/predump.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/capture/track_record.h"
#include "engine/proc/dump.h"
#include "engine/take_internal.h"

/* So little is copied in less than a round needs to stop and let go. */
#define LEFT_ENOUGH_BYTES ((uint64_t)4 << 20)

/* A round that leaves more than this share of what it has read does not get anywhere. */
#define LEFT_SHARE_OF(bytes) ((bytes) / 4 * 3)

struct rounding {
	struct store *store;
	const struct take_options *opts;
	struct predump_round *round;
	struct generation gen;
	struct track_point point;
	struct track *track;
	struct ingest *ingest;
	struct tree tree;
	struct dump_ctx ctx;
	struct predump *predump;
	bool tracks; /* another round would have less to do */
};

static int look(struct rounding *r)
{
	int rc = dump_begin(&r->ctx, &r->tree, r->ingest, r->opts->ghost_max_bytes);

	r->ctx.progress = r->opts->progress;
	r->ctx.track = r->track;
	if (rc == R_OK)
		rc = take_describe(&r->tree, r->opts, &r->gen);
	if (rc == R_OK)
		rc = predump_look(&r->ctx, &r->predump);
	return rc == R_OK ? track_protect(r->track, &r->ctx) : rc;
}

static int commit(struct rounding *r, uint64_t start_ns)
{
	int rc;

	r->gen.predump = true;
	r->gen.frozen_ns = r->round->frozen_ns;
	r->gen.wall_ns = take_clock_ns(CLOCK_MONOTONIC) - start_ns;
	rc = fds_carry_ghosts(r->ingest);
	if (rc == R_OK)
		rc = files_carry(r->ingest);
	if (rc == R_OK)
		rc = ingest_commit(r->ingest, &r->gen);
	if (rc != R_OK)
		return rc;
	r->ingest = NULL;
	r->point.generation = r->gen.number;
	track_commit(r->track, &r->point);
	r->round->stored_bytes = r->gen.bytes_stored;
	r->round->left_bytes = predump_left(r->predump);
	r->tracks = track_is_kept(r->track);
	return R_OK;
}

static int one_round(struct rounding *r)
{
	uint64_t start_ns = take_clock_ns(CLOCK_MONOTONIC);
	int rc = ingest_begin(r->store, r->opts->lineage, &r->ingest), released;

	if (rc != R_OK)
		return rc;
	take_newest_point(r->ingest, r->opts, &r->point);
	track_begin(r->opts->pid, r->opts->compare ? TRACK_NONE : r->opts->track, &r->point,
		    &r->track);
	dump_ready(1);
	rc = track_protect_ahead(r->track);
	if (rc == R_OK)
		rc = tree_freeze(r->opts->pid, &r->tree);
	if (rc == R_OK) {
		r->gen.time_ns = (int64_t)take_clock_ns(CLOCK_REALTIME);
		rc = look(r);
		released = tree_release(&r->tree);
		rc = rc == R_OK ? released : rc;
		r->round->frozen_ns = r->tree.frozen_ns;
	}
	if (rc == R_OK)
		rc = predump_read(r->predump, r->round);
	if (rc == R_OK)
		rc = commit(r, start_ns);
	predump_free(r->predump);
	dump_end(&r->ctx);
	track_end(r->track);
	if (r->ingest)
		ingest_abort(r->ingest);
	r->round->wall_ns = take_clock_ns(CLOCK_MONOTONIC) - start_ns;
	return rc;
}

int engine_predump(struct store *store, const struct take_options *opts,
		   struct predump_summary *summary)
{
	int rc = dump_check_root(opts->pid);

	memset(summary, 0, sizeof(*summary));
	while (rc == R_OK && summary->n < PREDUMP_ROUNDS_MAX) {
		struct predump_round *round = &summary->rounds[summary->n];
		struct rounding r = { .store = store, .opts = opts, .round = round };

		rc = one_round(&r);
		if (rc != R_OK)
			break;
		summary->n++;
		summary->number = store_number_shown(r.gen.number);
		if (!r.tracks || round->left_bytes <= LEFT_ENOUGH_BYTES ||
		    round->left_bytes > LEFT_SHARE_OF(round->read_bytes))
			break;
	}
	return rc;
}
