#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/segment_read.h"

/*
 * A page that is a difference keeps its base alive, and that one its own, down to a full page, even
 * when no generation reaches any of these.  Where none does, it is smaller to store the page in
 * full in place of the full one and of all differences between.  Where one is reached, the chain is
 * left: the full page would come on top.
 */

struct finding {
	const struct page_set *reached;
	struct page_set candidates; /* reached, their base is not */
};

static bool any_reached(page_no first, page_no last, void *arg)
{
	const struct finding *finding = arg;

	return page_set_next(finding->reached, first, last) != PAGE_ABSENT;
}

static int note_candidate(page_no number, page_no base, void *arg)
{
	struct finding *finding = arg;

	if (!page_set_has(finding->reached, number) || page_set_has(finding->reached, base))
		return R_OK;
	return page_set_add(&finding->candidates, number, NULL);
}

/* R_OK if no page below this one is reached, else R_NOT_FOUND. */
static int is_alone(struct store_view *view, const struct page_set *reached, page_no number)
{
	page_no base;
	int result;

	while ((result = view_page_base(view, number, &base)) == R_OK && base != PAGE_ABSENT) {
		if (page_set_has(reached, base))
			return R_NOT_FOUND;
		number = base;
	}
	return result == R_DAMAGED ? R_NOT_FOUND : result;
}

static int find(struct run *run, struct store_view *view, struct finding *finding)
{
	page_no number = 0;
	int result;

	result = reap_bases(view, any_reached, note_candidate, finding);
	while (result == R_OK &&
	       (number = page_set_next(&finding->candidates, number, UINT64_MAX)) != PAGE_ABSENT) {
		result = is_alone(view, finding->reached, number);
		if (result == R_OK)
			result = page_set_add(&run->detach, number, NULL);
		else if (result == R_NOT_FOUND)
			result = R_OK;
		number++;
	}
	return result;
}

int find_detached(struct run *run)
{
	struct finding finding = { .reached = &run->marks.reached };
	struct store_view *view;
	int result;

	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = find(run, view, &finding);
	store_view_close(view);
	page_set_clear(&finding.candidates);
	return result;
}

bool has_detached(const struct run *run, const struct reap_segment *segment)
{
	return page_set_next(&run->detach, segment->record.first, segment->record.last) !=
	       PAGE_ABSENT;
}
