#include "base/result.h"
#include "gc/gc_internal.h"

#include <string.h>

/* Segments or holes handled by one transaction, so that no take waits long for it. */
#define BATCH 1024

struct reclaim {
	struct run *run;
	page_no next, next_after;
	uint8_t hole[HOLE_KEY_BYTES], hole_after[HOLE_KEY_BYTES];
	uint64_t pending;
	bool more;
};

static int reclaim_one(struct reap *reap, struct reclaim *reclaim,
		       const struct reap_segment *segment, uint64_t oldest)
{
	struct run *run = reclaim->run;
	struct liveness now = liveness_of(run, segment, reap_view(reap));

	if (now.live > 0 && (now.digest != segment->digest || now.live == segment->record.pages))
		return reap_spare(reap, segment, &run->marks.visited.pages);
	if (now.live == 0 && now.digest == segment->digest && segment->condemned_txn <= oldest)
		return reap_drop(reap, segment);
	if (segment->condemned_txn > oldest)
		reclaim->pending +=
		    segment->bytes * (segment->record.pages - now.live) / segment->record.pages;
	return R_OK;
}

/*
 * No view that began before the condemnation is left, and within this transaction nobody can
 * commit: so what the marks, brought up to date here, do not have cannot be referred to by anyone
 * any more.  Later views neither find the pages by hash nor reach them from a generation.
 */
static int reclaim_batch(struct reap *reap, void *arg)
{
	struct reclaim *reclaim = arg;
	struct store_view *view = reap_view(reap);
	struct reap_segment segment;
	uint64_t oldest;
	int result;

	reclaim->pending = 0;
	reclaim->more = false;
	reclaim->next_after = reclaim->next;
	result = mark_generations(view, &reclaim->run->marks);
	if (result == R_OK)
		result = reap_oldest_view(reclaim->run->store, &oldest);
	for (size_t i = 0; result == R_OK && i < BATCH; i++) {
		result = reap_condemned_next(view, reclaim->next_after, &segment);
		if (result == R_NOT_FOUND)
			return R_OK;
		if (result == R_OK)
			result = reclaim_one(reap, reclaim, &segment, oldest);
		reclaim->next_after = segment.record.last + 1;
	}
	reclaim->more = true;
	return result;
}

static int hole_batch(struct reap *reap, void *arg)
{
	struct reclaim *reclaim = arg;
	uint64_t oldest;
	int result;

	reclaim->pending = 0;
	memcpy(reclaim->hole_after, reclaim->hole, HOLE_KEY_BYTES);
	if (reap_oldest_view(reclaim->run->store, &oldest) != R_OK)
		return R_FAILED;
	result = reap_holes(reap, oldest, reclaim->hole_after, BATCH, &reclaim->pending);
	reclaim->more = result == R_OK;
	return result == R_FAILED ? R_FAILED : R_OK;
}

static int counts(struct store *store, uint64_t *condemned, uint64_t *holes)
{
	struct store_view *view;
	int result;

	if (store_view_open(store, &view) != R_OK)
		return R_FAILED;
	result = reap_counts(view, condemned, holes);
	store_view_close(view);
	return result;
}

int reclaim_segments(struct run *run)
{
	struct reclaim reclaim = { .run = run };
	uint64_t condemned, holes;
	int result;

	if (counts(run->store, &condemned, &holes) != R_OK)
		return R_FAILED;
	reclaim.more = condemned > 0;
	while (reclaim.more) {
		result = marked_write(run, reclaim_batch, &reclaim);
		if (result != R_OK)
			return result;
		run->result->bytes_pending += reclaim.pending;
		reclaim.next = reclaim.next_after;
	}
	return R_OK;
}

int free_holes(struct run *run)
{
	struct reclaim reclaim = { .run = run };
	uint64_t condemned, holes;
	int result;

	if (counts(run->store, &condemned, &holes) != R_OK)
		return R_FAILED;
	reclaim.more = holes > 0;
	while (reclaim.more) {
		result = reap_write(run->store, hole_batch, &reclaim);
		if (result != R_OK)
			return result;
		run->result->bytes_pending += reclaim.pending;
		memcpy(reclaim.hole, reclaim.hole_after, HOLE_KEY_BYTES);
	}
	return R_OK;
}
