#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/segment_read.h"

/*
 * A page that is a difference keeps its base alive, and that one its own, down to a full page, even
 * when no generation reaches any of these.  Where none does, the page may be stored in full in
 * place of the full one and of all differences between.  Where one is reached, the chain is left:
 * the full page would come on top.  So is one that another page needs as well, as siblings do that
 * are differences to one page: each of them would be stored in full.
 *
 * That frees the differences, for one page written anew and the segments around it.  So unless all
 * is rewritten anyway (--recompress) it is done only where the differences are larger than the
 * page, and once they are more of the store than may be unused (figures in gc/DESIGN.md).
 */

struct finding {
	const struct run *run;
	struct page_set candidates; /* reached, their base is not */
	/* What candidates are made of and nobody reaches: all, and where several of them meet. */
	struct page_set below, shared;
	uint64_t gain; /* bytes of differences that would go */
};

static bool any_marked(page_no first, page_no last, void *arg)
{
	const struct finding *finding = arg;

	return page_set_next(&finding->run->marks.visited.pages, first, last) != PAGE_ABSENT;
}

static int note_candidate(page_no number, page_no base, void *arg)
{
	struct finding *finding = arg;
	const struct marks *marks = &finding->run->marks;

	if (!is_reached(marks, number) || is_reached(marks, base))
		return R_OK;
	return page_set_add(&finding->candidates, number, NULL);
}

/* Notes what a candidate is made of, down to where another one came along. */
static int note_below(struct finding *finding, struct store_view *view, page_no number)
{
	bool added;
	int result;

	while ((result = view_page_base(view, number, &number)) == R_OK && number != PAGE_ABSENT &&
	       !is_reached(&finding->run->marks, number)) {
		if (page_set_add(&finding->below, number, &added) != R_OK)
			return R_FAILED;
		if (!added)
			return page_set_add(&finding->shared, number, NULL);
	}
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* R_OK if no page below this one is reached, or needed by another candidate, and it is worth while,
 * else R_NOT_FOUND. */
static int is_due(struct finding *finding, struct store_view *view, page_no number)
{
	const struct run *run = finding->run;
	uint64_t differences = 0;

	for (;;) {
		const struct segment *segment;
		uint32_t place, bytes, pages;
		page_no base;
		int result = view_segment(view, number, &segment, &place);

		if (result != R_OK)
			return result == R_DAMAGED ? R_NOT_FOUND : result;
		segment_cluster_size(segment, place, &bytes, &pages);
		bytes /= pages ? pages : 1;
		base = segment_base(segment, place);
		if (base == PAGE_ABSENT && !run->options->recompress && differences < bytes)
			return R_NOT_FOUND;
		if (base == PAGE_ABSENT) {
			finding->gain += differences;
			return R_OK;
		}
		if (is_reached(&run->marks, base) || page_set_has(&finding->shared, base))
			return R_NOT_FOUND;
		differences += bytes;
		number = base;
	}
}

static int find(struct run *run, struct store_view *view, struct finding *finding)
{
	page_no number = 0;
	int result;

	result = reap_bases(view, any_marked, note_candidate, finding);
	for (; result == R_OK &&
	       (number = page_set_next(&finding->candidates, number, UINT64_MAX)) != PAGE_ABSENT;
	     number++)
		result = note_below(finding, view, number);
	number = 0;
	while (result == R_OK &&
	       (number = page_set_next(&finding->candidates, number, UINT64_MAX)) != PAGE_ABSENT) {
		result = is_due(finding, view, number);
		if (result == R_OK)
			result = page_set_add(&run->detach, number, NULL);
		else if (result == R_NOT_FOUND)
			result = R_OK;
		number++;
	}
	return result;
}

/* Whether so many bytes are more than may be unused. */
static bool is_enough(const struct run *run, uint64_t gain)
{
	return run->options->recompress ||
	       gain * 100 > run->segments_bytes * run->options->max_unused_percent;
}

/* About what there is to gain at most, told by the index alone: going down every chain takes as
 * long as all other looking, and mostly for nothing. */
static int guess_gain(const struct run *run, struct store_view *view, uint64_t *gain)
{
	const struct page_set *bases = &run->marks.bases;
	struct reap_segment segment;
	page_no next = 0;
	int result;

	*gain = 0;
	while ((result = reap_segment_next(view, next, &segment)) == R_OK) {
		next = segment.record.last + 1;
		if (segment.record.flags & SEGMENT_DELTAS)
			*gain += segment.bytes *
				 page_set_count(bases, segment.record.first, segment.record.last) /
				 segment.record.pages;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static int find_in(struct run *run, struct store_view *view)
{
	struct finding finding = { .run = run };
	uint64_t most;
	int result;

	result = guess_gain(run, view, &most);
	if (result != R_OK || !is_enough(run, most))
		return result;
	result = find(run, view, &finding);
	page_set_clear(&finding.candidates);
	page_set_clear(&finding.below);
	page_set_clear(&finding.shared);
	if (result == R_OK && !is_enough(run, finding.gain))
		page_set_clear(&run->detach);
	return result;
}

int find_detached(struct run *run)
{
	struct store_view *view;
	int result;

	if (page_set_next(&run->marks.bases, 0, UINT64_MAX) == PAGE_ABSENT)
		return R_OK;
	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = find_in(run, view);
	store_view_close(view);
	return result;
}

bool has_detached(const struct run *run, const struct reap_segment *segment)
{
	return page_set_next(&run->detach, segment->record.first, segment->record.last) !=
	       PAGE_ABSENT;
}
