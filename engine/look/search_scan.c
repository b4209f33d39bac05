/*
 * Looking for matches in pages and at the borders between them, each once.  What one stretch of
 * addresses was in all generations is read together: later pages are stored as differences to
 * earlier ones of the same place, which then need not be unpacked again.
 */
#include "engine/look/search_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

/* Pages read at once; of borders half as many pairs. */
#define BATCH_PAGES 4096

int scanner_init(struct scanner *s, struct store_view *view, struct matcher *matcher,
		 struct scanned *scanned)
{
	*s = (struct scanner){ .view = view, .matcher = matcher, .scanned = scanned };
	s->wanted = malloc(BATCH_PAGES * sizeof(*s->wanted));
	s->indexes = malloc(BATCH_PAGES * sizeof(*s->indexes));
	s->data = malloc(BATCH_PAGES * PAGE_BYTES);
	if (s->wanted && s->indexes && s->data)
		return R_OK;
	warn("out of memory");
	scanner_free(s);
	return R_FAILED;
}

void scanner_free(struct scanner *s)
{
	free(s->wanted);
	free(s->indexes);
	free(s->data);
	s->wanted = NULL;
	s->indexes = NULL;
	s->data = NULL;
}

/* Each page is encrypted by itself, at its own index. */
static int decrypt_wanted(struct scanner *s)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i++)
		rc = sealed_read(s->sealed, s->indexes[i], 1, s->data + i * PAGE_BYTES);
	return rc;
}

static int read_wanted(struct scanner *s)
{
	page_no bad = PAGE_ABSENT;
	int rc;

	if (s->sealed)
		return decrypt_wanted(s);
	rc = store_read_pages(s->view, s->wanted, s->n_wanted, s->data, &bad);

	if (rc == R_DAMAGED)
		warn("page %llu of the store, of object %s, is damaged; see snap verify --data",
		     (unsigned long long)bad, s->object);
	return rc;
}

static int add_hit(struct scanner *s, page_no a, page_no b, size_t offset, const uint8_t *bytes,
		   size_t len)
{
	struct scanned_hit hit = { .offset = (uint32_t)offset, .len = (uint32_t)len };

	hit.shown = (uint32_t)(len < SCANNED_SHOWN_BYTES ? len : SCANNED_SHOWN_BYTES);
	memcpy(hit.bytes, bytes, hit.shown);
	return scanned_add(s->scanned, a, b, &hit);
}

static int scan_page(struct scanner *s, page_no number, const uint8_t *bytes)
{
	size_t half = matcher_reach(s->matcher) - 1, from = 0, start, end;
	int rc = R_OK;

	if (half && matcher_open(s->matcher, bytes + PAGE_BYTES - half, half))
		rc = scanned_set_open(s->scanned, number);
	while (rc == R_OK && matcher_find(s->matcher, bytes, PAGE_BYTES, from, &start, &end)) {
		rc = add_hit(s, number, PAGE_ABSENT, start, bytes + start, end - start);
		from = end;
	}
	return rc;
}

static int scan_pages(struct scanner *s)
{
	int rc = s->n_wanted ? read_wanted(s) : R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i++)
		rc = scan_page(s, s->wanted[i], s->data + i * PAGE_BYTES);
	s->pages_read += s->n_wanted;
	s->n_wanted = 0;
	return rc;
}

/* Only what begins before the border and ends behind it. */
static int scan_border(struct scanner *s, page_no a, page_no b, const uint8_t *bytes)
{
	size_t half = matcher_reach(s->matcher) - 1, from = 0, start, end;
	int rc = R_OK;

	memcpy(s->border, bytes + PAGE_BYTES - half, half);
	memcpy(s->border + half, bytes + PAGE_BYTES, half);
	while (rc == R_OK && from < half &&
	       matcher_find(s->matcher, s->border, 2 * half, from, &start, &end)) {
		if (start >= half)
			break;
		if (end > half)
			rc = add_hit(s, a, b, PAGE_BYTES - half + start, s->border + start,
				     end - start);
		from = end;
	}
	return rc;
}

static int scan_borders(struct scanner *s)
{
	int rc = s->n_wanted ? read_wanted(s) : R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n_wanted; i += 2)
		rc = scan_border(s, s->wanted[i], s->wanted[i + 1], s->data + i * PAGE_BYTES);
	s->n_wanted = 0;
	return rc;
}

static void want(struct scanner *s, page_no number, uint64_t index)
{
	s->indexes[s->n_wanted] = index;
	s->wanted[s->n_wanted++] = number;
}

static int want_pages(struct scanner *s, uint64_t index, const page_no *leaf)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < LEAF_PAGES; i++) {
		if (leaf[i] == PAGE_ABSENT || scanned_page(s->scanned, leaf[i]))
			continue;
		rc = scanned_set_page(s->scanned, leaf[i]);
		want(s, leaf[i], index + i);
		if (rc == R_OK && s->n_wanted == BATCH_PAGES)
			rc = scan_pages(s);
	}
	return rc;
}

/* Page `a` stands at `index`, `b` behind it. */
static int want_border(struct scanner *s, uint64_t index, page_no a, page_no b)
{
	int rc;

	if (a == PAGE_ABSENT || b == PAGE_ABSENT || !scanned_open(s->scanned, a) ||
	    scanned_border(s->scanned, a, b))
		return R_OK;
	rc = scanned_set_border(s->scanned, a, b);
	want(s, a, index);
	want(s, b, index + 1);
	return rc == R_OK && s->n_wanted == BATCH_PAGES ? scan_borders(s) : rc;
}

/* Is the leaf the same as that of the track before? */
static bool again(const page_no *const *leaves, size_t i)
{
	return i > 0 && leaves[i] == leaves[i - 1];
}

int scanner_look(struct scanner *s, const struct track *tracks, size_t n, uint64_t index,
		 const page_no *const *leaves)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < n; i++)
		if (leaves[i] && !again(leaves, i))
			rc = want_pages(s, index, leaves[i]);
	if (rc == R_OK)
		rc = scan_pages(s);
	for (size_t i = 0; rc == R_OK && i < n; i++) {
		if (!leaves[i])
			continue;
		if (tracks[i].index + 1 == index)
			rc = want_border(s, index - 1, tracks[i].number, leaves[i][0]);
		for (size_t k = 0; rc == R_OK && !again(leaves, i) && k + 1 < LEAF_PAGES; k++)
			rc = want_border(s, index + k, leaves[i][k], leaves[i][k + 1]);
	}
	return rc == R_OK ? scan_borders(s) : rc;
}
