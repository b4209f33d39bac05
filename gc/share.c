#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <stdlib.h>

#define BLOCK_BYTES 4096 /* of most file systems */

/* The shares are in order of pack. */
static struct pack_share *share_of(const struct run *run, uint64_t pack)
{
	size_t low = 0, high = run->n_shares;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (run->shares[middle].pack < pack)
			low = middle + 1;
		else
			high = middle;
	}
	return low < run->n_shares && run->shares[low].pack == pack ? &run->shares[low] : NULL;
}

static struct pack_share *add_share(struct run *run, size_t *room, uint64_t pack)
{
	struct pack_share *share = share_of(run, pack);
	size_t at = run->n_shares;

	if (share)
		return share;
	if (run->n_shares == *room) {
		size_t more_room = *room ? *room * 2 : 64;
		struct pack_share *more = realloc(run->shares, more_room * sizeof(*more));

		if (!more) {
			warn("out of memory");
			return NULL;
		}
		run->shares = more;
		*room = more_room;
	}
	for (; at > 0 && run->shares[at - 1].pack > pack; at--)
		run->shares[at] = run->shares[at - 1];
	run->shares[at] = (struct pack_share){ .pack = pack };
	run->n_shares++;
	return &run->shares[at];
}

static uint64_t dead_bytes(const struct reap_segment *segment, uint64_t live)
{
	uint64_t pages = segment->record.pages;

	return live < pages ? segment->bytes * (pages - live) / pages : 0;
}

static int measure_segments(struct run *run, struct store_view *view)
{
	const struct page_set *marked = &run->marks.visited.pages;
	struct reap_segment segment;
	struct pack_share *share;
	page_no next = 0;
	size_t room = 0;
	int result;

	run->segments_bytes = 0;
	while ((result = reap_segment_next(view, next, &segment)) == R_OK) {
		uint64_t live = page_set_count(marked, segment.record.first, segment.record.last);

		next = segment.record.last + 1;
		run->segments_bytes += segment.bytes;
		/* What is wholly dead goes without being copied, and must count alike whether it is
		 * still there or an interrupted run has dropped it. */
		if (live == 0)
			continue;
		share = add_share(run, &room, segment.record.pack);
		if (!share)
			return R_FAILED;
		share->bytes += segment.bytes;
		if (live < segment.record.pages)
			share->dead += dead_bytes(&segment, live);
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

int measure_dead(struct run *run, uint64_t *bytes)
{
	const struct page_set *marked = &run->marks.visited.pages;
	struct reap_segment segment;
	struct store_view *view;
	page_no next = 0;
	int result;

	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = mark_generations(view, &run->marks);
	if (result == R_OK)
		result = reap_holes_bytes(view, bytes);
	while (result == R_OK && (result = reap_segment_next(view, next, &segment)) == R_OK) {
		uint64_t live = page_set_count(marked, segment.record.first, segment.record.last);

		next = segment.record.last + 1;
		*bytes += dead_bytes(&segment, live);
	}
	store_view_close(view);
	return result == R_NOT_FOUND ? R_OK : result;
}

int measure_packs(struct run *run)
{
	struct store_view *view;
	int result;

	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = measure_segments(run, view);
	store_view_close(view);
	return result;
}

/*
 * Copying a segment costs what lives in it and frees what is dead.  Of a pack that is over the
 * bound, segments with less than half of that share stay as they are: what they cost to copy would
 * free little, and the pack ends below the bound without them.  Alone among segments that stay, a
 * segment shares a block with each neighbour, so about one block of it is not given back.
 */
bool worth_copying(const struct run *run, const struct reap_segment *segment, uint32_t live)
{
	const struct pack_share *share = share_of(run, segment->record.pack);
	uint64_t bound = run->options->max_unused_percent, pages = segment->record.pages;

	if (live == 0 || live >= pages || !share)
		return false;
	if (has_detached(run, segment) ||
	    (run->options->recompress && !(segment->record.flags & SEGMENT_STRONG)))
		return true;
	return share->dead * 100 > share->bytes * bound && (pages - live) * 200 >= pages * bound &&
	       (dead_bytes(segment, live) > BLOCK_BYTES || share->dead * 2 > share->bytes);
}
