#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <stdlib.h>
#include <string.h>

/* Hashes looked at, and segments condemned, by one transaction: short enough for a take to wait
 * for.  Figures in gc/DESIGN.md. */
#define HASHES_MAX 32768
#define BATCH 1024

struct dropping {
	struct run *run;
	uint8_t from[HASH_KEY_BYTES], next[HASH_KEY_BYTES];
	bool end;
};

static int drop_some(struct reap *reap, void *arg)
{
	struct dropping *dropping = arg;
	struct run *run = dropping->run;
	uint64_t dropped;
	int result;

	result = mark_generations(reap_view(reap), &run->marks);
	if (result != R_OK)
		return result;
	memcpy(dropping->next, dropping->from, HASH_KEY_BYTES);
	result = reap_hashes(reap, &run->marks.visited.pages, dropping->next, HASHES_MAX, &dropped);
	dropping->end = result == R_NOT_FOUND;
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* Looks for the next one in a view, so that takes wait only where there is something to drop. */
int drop_hashes(struct run *run)
{
	struct dropping dropping = { .run = run };
	struct store_view *view;
	int result;

	do {
		result = tell(run, "looking for dead pages", 0, 0, PROGRESS_ITEMS);
		if (result != R_OK || store_view_open(run->store, &view) != R_OK)
			return R_FAILED;
		result = reap_hashes_seek(view, &run->marks.visited.pages, dropping.from);
		store_view_close(view);
		if (result != R_OK)
			return result == R_NOT_FOUND ? R_OK : result;
		result = marked_write(run, drop_some, &dropping);
		memcpy(dropping.from, dropping.next, HASH_KEY_BYTES);
	} while (result == R_OK && !dropping.end);
	return result;
}

struct liveness liveness_of(const struct run *run, const struct reap_segment *segment,
			    struct store_view *view)
{
	const struct page_set *marked = &run->marks.visited.pages;
	struct liveness liveness;

	liveness.live =
	    (uint32_t)page_set_count(marked, segment->record.first, segment->record.last);
	liveness.digest = reap_digest(view, marked, segment);
	return liveness;
}

struct batch {
	struct run *run;
	struct reap_segment segments[BATCH];
	size_t n;
	uint64_t pages, spares;
	bool stop;
};

/* True if the segment is to be condemned, or condemned anew, as it is now. */
static bool is_due(const struct run *run, const struct reap_segment *segment,
		   struct store_view *view, struct liveness *now)
{
	*now = liveness_of(run, segment, view);
	if (now->live > 0 && !worth_copying(run, segment, now->live))
		return false;
	return !segment->condemned_txn || now->digest != segment->digest;
}

static int condemn_one(struct reap *reap, struct batch *batch, const struct reap_segment *segment)
{
	struct reap_segment there;
	struct liveness now;
	int result;

	/* Another gc may have been here since the look outside the transaction. */
	result = reap_segment_same(reap, segment, &there);
	if (result != R_OK || !is_due(batch->run, &there, reap_view(reap), &now))
		return result == R_NOT_FOUND ? R_OK : result;
	if (there.condemned_txn) {
		if (reap_spare(reap, &there, &batch->run->marks.visited.pages) != R_OK)
			return R_FAILED;
		batch->spares++;
	}
	batch->pages += there.record.pages - now.live;
	return reap_condemn(reap, there.record.first, now.live, now.digest);
}

static int condemn_batch(struct reap *reap, void *arg)
{
	struct batch *batch = arg;
	int result;

	batch->pages = 0;
	batch->stop = false;
	result = mark_generations(reap_view(reap), &batch->run->marks);
	if (result == R_OK)
		result = reap_spares(reap_view(reap), &batch->spares);
	if (result != R_OK)
		return result;
	/* There may be hashes of dead pages again, behind where drop_hashes() has been. */
	if (batch->run->marks.missed || batch->spares != batch->run->spares) {
		batch->stop = true;
		return R_NOT_FOUND;
	}
	for (size_t i = 0; result == R_OK && i < batch->n; i++)
		result = condemn_one(reap, batch, &batch->segments[i]);
	return result;
}

/* Gathers up to BATCH segments that are due, from `*next` on, moving it. */
static int gather(struct batch *batch, page_no *next)
{
	struct reap_segment *segment;
	struct store_view *view;
	struct liveness now;
	int result = R_OK;

	if (store_view_open(batch->run->store, &view) != R_OK)
		return R_FAILED;
	batch->n = 0;
	while (batch->n < BATCH && result == R_OK) {
		segment = &batch->segments[batch->n];
		result = reap_segment_next(view, *next, segment);
		if (result != R_OK)
			break;
		*next = segment->record.last + 1;
		if (is_due(batch->run, segment, view, &now))
			batch->n++;
		else if (now.live > 0 && now.live < segment->record.pages &&
			 !worth_copying(batch->run, segment, now.live))
			batch->run->result->bytes_unused += segment->bytes *
							    (segment->record.pages - now.live) /
							    segment->record.pages;
	}
	store_view_close(view);
	return result == R_FAILED ? R_FAILED : R_OK;
}

int condemn_segments(struct run *run)
{
	struct batch *batch = calloc(1, sizeof(*batch));
	page_no next = 0;
	int result;

	if (!batch) {
		warn("out of memory");
		return R_FAILED;
	}
	batch->run = run;
	do {
		result = gather(batch, &next);
		if (result == R_OK && batch->n > 0)
			result = marked_write(run, condemn_batch, batch);
		if (result == R_OK && batch->n > 0) {
			run->spares = batch->spares;
			run->result->pages_dead += batch->pages;
		}
	} while (result == R_OK && batch->n > 0);
	if (batch->stop) {
		detail("another gc is at work: what it has not condemned is left to the next one");
		result = R_OK;
	}
	free(batch);
	return result;
}
