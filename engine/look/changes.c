#include "engine/look/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

#define BATCH_PAGES 256

struct pair {
	uint64_t index;
	page_no before, after;
};

struct changes {
	struct store_view *view;
	struct pair pairs[BATCH_PAGES]; /* not compared yet */
	size_t n;
	struct look_change last; /* being gathered; no pages: none */
	uint8_t *buf;		 /* 2 * BATCH_PAGES pages */
	const struct look_changes_to *to;
};

static int kind_of(const struct pair *p)
{
	return p->before == PAGE_ABSENT	 ? CHANGE_ADDED
	       : p->after == PAGE_ABSENT ? CHANGE_REMOVED
					 : CHANGE_WRITTEN;
}

static int tell_last(struct changes *c)
{
	int rc = c->last.pages ? c->to->fn(&c->last, c->to->arg) : R_OK;

	c->last.pages = 0;
	return rc;
}

static int add(struct changes *c, const struct pair *p, uint64_t bytes)
{
	uint64_t at = p->index * PAGE_BYTES;
	int rc = R_OK;

	if (c->last.pages &&
	    ((int)c->last.kind != kind_of(p) || c->last.start + c->last.pages * PAGE_BYTES != at))
		rc = tell_last(c);
	if (rc != R_OK)
		return rc;
	if (!c->last.pages) {
		c->last.start = at;
		c->last.kind = kind_of(p);
		c->last.bytes = 0;
	}
	c->last.pages++;
	c->last.bytes += bytes;
	return R_OK;
}

static uint64_t bytes_that_differ(const uint8_t *a, const uint8_t *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < PAGE_BYTES; i++)
		n += a[i] != b[i];
	return n;
}

static int read_side(struct changes *c, const page_no *numbers, uint8_t *buf)
{
	page_no bad = PAGE_ABSENT;
	int rc = store_read_pages(c->view, numbers, c->n, buf, &bad);

	if (rc == R_DAMAGED)
		warn("page %llu of the store is damaged; see snap verify --data",
		     (unsigned long long)bad);
	return rc;
}

/* Absent pages read as zeroes. */
static int compare(struct changes *c)
{
	page_no before[BATCH_PAGES], after[BATCH_PAGES];
	uint8_t *other = c->buf + BATCH_PAGES * PAGE_BYTES;
	int rc;

	for (size_t i = 0; i < c->n; i++) {
		before[i] = c->pairs[i].before;
		after[i] = c->pairs[i].after;
	}
	rc = read_side(c, before, c->buf);
	if (rc == R_OK)
		rc = read_side(c, after, other);
	for (size_t i = 0; rc == R_OK && i < c->n; i++) {
		const struct pair *p = &c->pairs[i];

		rc = add(c, p,
			 kind_of(p) == CHANGE_WRITTEN
			     ? bytes_that_differ(c->buf + i * PAGE_BYTES, other + i * PAGE_BYTES)
			     : PAGE_BYTES);
	}
	c->n = 0;
	return rc;
}

/* Without a page there are zeroes, unless a file shows. */
static bool is_same(const struct changes *c, uint64_t index, page_no before, page_no after)
{
	if (before > PAGE_ZERO || after > PAGE_ZERO)
		return false;
	return !c->to->shows_file || !c->to->shows_file(index, c->to->arg);
}

static int differs(uint64_t index, page_no before, page_no after, void *arg)
{
	struct changes *c = arg;

	if (is_same(c, index, before, after))
		return R_OK;
	c->pairs[c->n++] = (struct pair){ index, before, after };
	return c->n == BATCH_PAGES ? compare(c) : R_OK;
}

int look_changes(struct store_view *view, const struct object *before, const struct object *after,
		 const struct look_changes_to *to)
{
	struct changes *c = calloc(1, sizeof(*c));
	int rc = R_FAILED;

	if (c)
		c->buf = malloc(2 * BATCH_PAGES * PAGE_BYTES);
	if (!c || !c->buf) {
		warn("out of memory");
		goto out;
	}
	c->view = view;
	c->to = to;
	rc = store_object_diff(view, before, after, differs, c);
	if (rc == R_OK && c->n)
		rc = compare(c);
	if (rc == R_OK)
		rc = tell_last(c);
out:
	if (c)
		free(c->buf);
	free(c);
	return rc;
}
