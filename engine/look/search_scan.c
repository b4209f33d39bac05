/*
 * Looking for matches in pages and at the borders between them, each once.  What one stretch of
 * addresses was in all generations is read together: later pages are stored as differences to
 * earlier ones of the same place, which then are at hand.
 */
#include "engine/look/search_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

#define KNOWN_SLOTS (2 * (size_t)BATCH_PAGES)
/* Damaged pages that are told of one by one. */
#define DAMAGE_TOLD_MAX 20u

_Static_assert(BATCH_PAGES < UINT16_MAX, "1 + a page of the batch");

struct scanner *scanner_new(struct store_view *view, struct matcher *matcher,
			    struct scanned *scanned)
{
	struct scanner *s = calloc(1, sizeof(*s));

	if (s) {
		s->view = view;
		s->matcher = matcher;
		s->scanned = scanned;
		s->edge = matcher_reach(matcher) - 1;
		s->heads = malloc(BATCH_PAGES * s->edge + 1);
		s->tails = malloc(BATCH_PAGES * s->edge + 1);
		if (s->heads && s->tails)
			return s;
	}
	warn("out of memory");
	scanner_free(s);
	return NULL;
}

void scanner_free(struct scanner *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < STORE_WORKERS_MAX; i++) {
		matcher_free(s->workers[i].matcher);
		free(s->workers[i].hits);
	}
	free(s->heads);
	free(s->tails);
	free(s);
}

static uint16_t *known_slot(struct scanner *s, page_no number)
{
	size_t i = (size_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (;; i++) {
		uint16_t *slot = &s->known[i % KNOWN_SLOTS];

		if (!*slot || s->wanted[*slot - 1] == number)
			return slot;
	}
}

static void begin_batch(struct scanner *s)
{
	memset(s->known, 0, sizeof(s->known));
	s->n_wanted = 0;
}

static int note_damage(struct scanner *s, page_no number, uint64_t index)
{
	if (s->pages_damaged++ < DAMAGE_TOLD_MAX)
		warn("%s, page at 0x%llx: it is damaged (page %llu of the store) and was not "
		     "searched; see snap verify --data",
		     s->object, (unsigned long long)(index * PAGE_BYTES),
		     (unsigned long long)number);
	else if (s->pages_damaged == DAMAGE_TOLD_MAX + 1)
		warn("more pages are damaged, which are only counted from here on");
	return scanned_set_damaged(s->scanned, number);
}

/* Each page is encrypted by itself, at its own index. */
static int scan_sealed(struct scanner *s)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i++) {
		struct store_visited visited = {
			.at = i, .number = s->wanted[i], .bytes = s->page, .base_at = SIZE_MAX
		};

		rc = sealed_read(s->sealed, s->indexes[i], 1, s->page);
		if (rc == R_DAMAGED) {
			visited.bytes = NULL;
			rc = R_OK;
		}
		if (rc == R_OK)
			scanner_page(&visited, s);
	}
	return rc;
}

static int note_states(struct scanner *s)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i++) {
		if (s->states[i] & PAGE_DAMAGED)
			rc = note_damage(s, s->wanted[i], s->indexes[i]);
		else if (s->states[i] & PAGE_OPEN)
			rc = scanned_set_open(s->scanned, s->wanted[i]);
	}
	return rc;
}

static int note_hits(struct scanner *s, struct page_worker *w)
{
	int rc = R_OK;

	for (size_t k = 0; rc == R_OK && k < w->n_hits; k++)
		rc =
		    scanned_add(s->scanned, s->wanted[w->hits[k].at], PAGE_ABSENT, &w->hits[k].hit);
	w->n_hits = 0;
	w->full = false;
	return rc == R_OK && w->failed ? R_FAILED : rc;
}

/* A page of another batch, or of this one once more, which was whole then.  R_OK, R_DAMAGED (not
 * reported), R_FAILED. */
static int read_again(struct scanner *s, page_no number, uint64_t index)
{
	page_no bad;

	return s->sealed ? sealed_read(s->sealed, index, 1, s->page)
			 : store_read_pages(s->view, &number, 1, s->page, &bad);
}

/* Which hits the workers came to first is a matter of chance: the first ones page by page. */
static int note_first_hits(struct scanner *s)
{
	struct page_worker *w = &s->workers[0];
	int rc = R_OK;

	s->limited = true;
	for (size_t i = 0; i < STORE_WORKERS_MAX; i++)
		s->workers[i].n_hits = 0;
	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i++) {
		struct store_visited visited = {
			.at = i, .number = s->wanted[i], .bytes = s->page, .base_at = SIZE_MAX
		};

		if (s->states[i] & PAGE_DAMAGED)
			continue;
		if (scanned_hits(s->scanned) > HITS_MAX)
			break;
		rc = read_again(s, s->wanted[i], s->indexes[i]);
		if (rc == R_OK) {
			w->full = false;
			scanner_page(&visited, s);
			rc = note_hits(s, w);
		}
	}
	return rc;
}

/* Notes what the workers have found. */
static int note_batch(struct scanner *s)
{
	size_t n = scanned_hits(s->scanned);
	bool full = false;
	int rc = note_states(s);

	for (size_t i = 0; i < STORE_WORKERS_MAX; i++) {
		n += s->workers[i].n_hits;
		full |= s->workers[i].full;
	}
	if (rc == R_OK && (full || n > HITS_MAX))
		return note_first_hits(s);
	for (size_t i = 0; rc == R_OK && i < STORE_WORKERS_MAX; i++)
		rc = note_hits(s, &s->workers[i]);
	return rc;
}

static int scan_pages(struct scanner *s)
{
	int rc = R_OK;

	if (!s->n_wanted)
		return R_OK;
	rc = s->sealed ? scan_sealed(s)
		       : store_visit_pages(s->view, s->wanted, s->n_wanted, scanner_page, s);
	if (rc == R_OK)
		rc = note_batch(s);
	s->pages_read += s->n_wanted;
	return rc;
}

/* Only what begins before the border and ends behind it.  `bytes` are those on both sides. */
static int scan_border(struct scanner *s, page_no a, page_no b, const uint8_t *bytes)
{
	size_t half = s->edge, from = 0, start, end;
	int rc = R_OK;

	while (rc == R_OK && from < half &&
	       matcher_find(s->matcher, bytes, 2 * half, from, &start, &end)) {
		if (start >= half)
			break;
		if (end > half) {
			struct scanned_hit hit = { .offset = (uint32_t)(PAGE_BYTES - half + start),
						   .len = (uint32_t)(end - start) };

			hit.shown = hit.len < SCANNED_SHOWN_BYTES ? hit.len : SCANNED_SHOWN_BYTES;
			memcpy(hit.bytes, bytes + start, hit.shown);
			rc = scanned_add(s->scanned, a, b, &hit);
		}
		from = end;
	}
	return rc;
}

/* The last bytes of page `a` at `index`, and the first of `b` behind it. */
static int join(struct scanner *s, uint64_t index, page_no a, page_no b, uint8_t *joined)
{
	uint16_t known_a = *known_slot(s, a), known_b = *known_slot(s, b);
	int rc = R_OK;

	if (known_a)
		memcpy(joined, s->tails + (known_a - 1) * s->edge, s->edge);
	else if ((rc = read_again(s, a, index)) == R_OK)
		memcpy(joined, s->page + PAGE_BYTES - s->edge, s->edge);
	if (rc == R_OK && known_b)
		memcpy(joined + s->edge, s->heads + (known_b - 1) * s->edge, s->edge);
	else if (rc == R_OK && (rc = read_again(s, b, index + 1)) == R_OK)
		memcpy(joined + s->edge, s->page, s->edge);
	return rc;
}

/* Page `a` stands at `index`, `b` behind it. */
static int look_at_border(struct scanner *s, uint64_t index, page_no a, page_no b)
{
	uint8_t joined[2 * MATCH_BORDER_BYTES];
	int rc;

	if (a == PAGE_ABSENT || b == PAGE_ABSENT || !scanned_open(s->scanned, a) ||
	    scanned_damaged(s->scanned, b) || scanned_border(s->scanned, a, b))
		return R_OK;
	rc = scanned_set_border(s->scanned, a, b);
	if (rc == R_OK)
		rc = join(s, index, a, b, joined);
	if (rc == R_DAMAGED)
		return note_damage(s, a, index);
	return rc == R_OK ? scan_border(s, a, b, joined) : rc;
}

static int want_page(struct scanner *s, page_no number, uint64_t index)
{
	int rc = scanned_set_page(s->scanned, number);

	if (s->limited)
		return rc;
	if (rc == R_OK && s->n_wanted == BATCH_PAGES) {
		rc = scan_pages(s);
		begin_batch(s);
	}
	*known_slot(s, number) = (uint16_t)(s->n_wanted + 1);
	s->indexes[s->n_wanted] = index;
	s->wanted[s->n_wanted++] = number;
	return rc;
}

/* The pages of a leaf that the one before has not at the same place. */
static int want_pages(struct scanner *s, uint64_t index, const page_no *leaf, const page_no *before)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < LEAF_PAGES; i++)
		if (leaf[i] != PAGE_ABSENT && (!before || leaf[i] != before[i]) &&
		    !scanned_page(s->scanned, leaf[i]))
			rc = want_page(s, leaf[i], index + i);
	return rc;
}

/* The borders within a leaf that the one before has not at the same place. */
static int look_within(struct scanner *s, uint64_t index, const page_no *leaf,
		       const page_no *before)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i + 1 < LEAF_PAGES; i++)
		if (!before || leaf[i] != before[i] || leaf[i + 1] != before[i + 1])
			rc = look_at_border(s, index + i, leaf[i], leaf[i + 1]);
	return rc;
}

int scanner_look(struct scanner *s, const struct track *tracks, size_t n, uint64_t index,
		 const page_no *const *leaves)
{
	const page_no *before = NULL;
	int rc = R_OK;

	begin_batch(s);
	for (size_t i = 0; rc == R_OK && i < n; i++) {
		if (leaves[i] && leaves[i] != before)
			rc = want_pages(s, index, leaves[i], before);
		before = leaves[i] ?: before;
	}
	if (rc == R_OK && !s->limited)
		rc = scan_pages(s);
	before = NULL;
	for (size_t i = 0; rc == R_OK && s->edge && !s->limited && i < n; i++) {
		if (!leaves[i])
			continue;
		if (tracks[i].index + 1 == index)
			rc = look_at_border(s, index - 1, tracks[i].number, leaves[i][0]);
		if (rc == R_OK && leaves[i] != before)
			rc = look_within(s, index, leaves[i], before);
		before = leaves[i];
	}
	return rc;
}
