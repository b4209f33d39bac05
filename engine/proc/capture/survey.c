#include "engine/proc/capture/survey.h"

#include <stdlib.h>

#include "base/result.h"
#include "base/warn.h"

#define BATCH 512
/* What one table of page table entries maps. */
#define TABLE_BYTES ((uint64_t)2 << 20)
/* A call is as dear as a look at this much. */
#define GAP_BYTES ((uint64_t)32 * 4096)

static int add(struct survey *survey, uint64_t start, uint64_t end, enum survey_kind kind)
{
	struct survey_region *last = survey->n ? &survey->regions[survey->n - 1] : NULL;

	if (start >= end)
		return R_OK;
	if (last && last->end == start && last->kind == kind) {
		last->end = end;
		return R_OK;
	}
	if (survey->n == survey->room) {
		size_t room = survey->room ? survey->room * 2 : 256;
		struct survey_region *more = reallocarray(survey->regions, room, sizeof(*more));

		if (!more) {
			warn("no memory for a list of page ranges; free some and try again");
			return R_FAILED;
		}
		survey->regions = more;
		survey->room = room;
	}
	survey->regions[survey->n++] = (struct survey_region){ start, end, kind };
	return R_OK;
}

/* Looks at each page. */
static int look_closely(struct survey *survey, struct pagemap *map, uint64_t start, uint64_t end,
			enum survey_trust trust)
{
	enum page_question question =
	    trust == SURVEY_SOFT_DIRTY ? PAGES_SOFT_DIRTY : PAGES_OWN_OR_GUARD;
	struct page_range found[BATCH];
	uint64_t at = start;

	while (at < end) {
		size_t n;

		if (pagemap_next(map, question, &at, end, found, BATCH, &n) != R_OK)
			return R_FAILED;
		for (size_t i = 0; i < n; i++) {
			enum survey_kind kind = SURVEY_OWN;

			if (found[i].marks & PAGE_MARK_GUARD)
				kind = SURVEY_GUARD;
			else if (!(found[i].marks & PAGE_MARK_WRITTEN)) {
				/* Not in memory may also mean dropped: of a file's mapping the
				 * kernel then keeps no more than the mark of protection. */
				if (trust == SURVEY_UNTRACKED)
					survey->stale = true;
				else if (found[i].marks & PAGE_MARK_PRESENT)
					kind = SURVEY_KEPT;
			}
			if (add(survey, found[i].start, found[i].end, kind) != R_OK)
				return R_FAILED;
		}
	}
	return R_OK;
}

/*
 * A range in which every page that has a page table entry is protected.  Whether there are entries
 * is told by one page for all of its table; a table that was given back to the kernel had pages
 * that are gone.
 */
static int keep(struct survey *survey, struct pagemap *map, uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t next = (start & -TABLE_BYTES) + TABLE_BYTES;
		struct page_range own;
		size_t n = 0;

		if (next > end)
			next = end;
		if (pagemap_is_protected(map, start)) {
			if (add(survey, start, next, SURVEY_KEPT) != R_OK)
				return R_FAILED;
			start = next;
			continue;
		}
		/* On to the next that has some, which may be far. */
		while (start < end && n == 0)
			if (pagemap_next(map, PAGES_OWN_OR_GUARD, &start, end, &own, 1, &n) != R_OK)
				return R_FAILED;
		if (n == 0)
			return R_OK;
		next = (own.start & -TABLE_BYTES) + TABLE_BYTES;
		if (next > end)
			next = end;
		/* Protected, as all: but this is not the place to rely on what should be. */
		if (look_closely(survey, map, own.start, next, SURVEY_TRACKED) != R_OK)
			return R_FAILED;
		start = next;
	}
	return R_OK;
}

/*
 * Looks closely only at what is not protected; what is protected are the task's own pages.  A look
 * at some pages more costs less than another look.
 */
static int look_quickly(struct survey *survey, struct pagemap *map, uint64_t start, uint64_t end)
{
	struct page_range found[BATCH];
	uint64_t at = start, kept_from = start;
	uint64_t from = start, to = start; /* to be looked at closely, so far */

	while (at < end) {
		size_t n;

		if (pagemap_next(map, PAGES_UNPROTECTED, &at, end, found, BATCH, &n) != R_OK)
			/* It is not tracked after all. */
			return look_closely(survey, map, kept_from, end, SURVEY_UNTRACKED);
		for (size_t i = 0; i < n; i++) {
			if (to > from && found[i].start - to <= GAP_BYTES) {
				to = found[i].end;
				continue;
			}
			if (keep(survey, map, kept_from, from) != R_OK ||
			    look_closely(survey, map, from, to, SURVEY_TRACKED) != R_OK)
				return R_FAILED;
			kept_from = to;
			from = found[i].start;
			to = found[i].end;
		}
	}
	if (keep(survey, map, kept_from, from) != R_OK ||
	    look_closely(survey, map, from, to, SURVEY_TRACKED) != R_OK)
		return R_FAILED;
	return keep(survey, map, to, end);
}

int survey_range(struct survey *survey, struct pagemap *map, uint64_t start, uint64_t end,
		 enum survey_trust trust)
{
	if (trust == SURVEY_TRACKED_ANON)
		return look_quickly(survey, map, start, end);
	return look_closely(survey, map, start, end, trust);
}

int survey_add_own(struct survey *survey, uint64_t start, uint64_t end)
{
	return add(survey, start, end, SURVEY_OWN);
}

int survey_read_too(struct survey *survey, const struct survey *written)
{
	struct survey merged = { .stale = survey->stale };
	struct survey_region part;
	size_t at = 0;
	int rc = R_OK;

	if (written->n == 0)
		return R_OK;
	for (size_t i = 0; rc == R_OK && i < survey->n; i++) {
		const struct survey_region *region = &survey->regions[i];
		uint64_t start = region->start;

		while (rc == R_OK && region->kind == SURVEY_KEPT &&
		       survey_next(written, &at, start, region->end, &part)) {
			rc = add(&merged, start, part.start, SURVEY_KEPT);
			if (rc == R_OK)
				rc = add(&merged, part.start, part.end, SURVEY_OWN);
			start = part.end;
		}
		if (rc == R_OK)
			rc = add(&merged, start, region->end, region->kind);
	}
	if (rc != R_OK) {
		survey_free(&merged);
		return rc;
	}
	survey_free(survey);
	*survey = merged;
	return R_OK;
}

void survey_free(struct survey *survey)
{
	free(survey->regions);
	*survey = (struct survey){ 0 };
}

uint64_t survey_bytes(const struct survey *survey, enum survey_kind kind)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < survey->n; i++)
		if (survey->regions[i].kind == kind)
			bytes += survey->regions[i].end - survey->regions[i].start;
	return bytes;
}

bool survey_next(const struct survey *survey, size_t *at, uint64_t start, uint64_t end,
		 struct survey_region *region)
{
	/* Callers go through ranges in ascending order, mostly. */
	while (*at > 0 && survey->regions[*at - 1].end > start)
		(*at)--;
	while (*at < survey->n && survey->regions[*at].end <= start)
		(*at)++;
	if (start >= end || *at == survey->n || survey->regions[*at].start >= end)
		return false;
	*region = survey->regions[*at];
	if (region->start < start)
		region->start = start;
	if (region->end > end)
		region->end = end;
	return true;
}
