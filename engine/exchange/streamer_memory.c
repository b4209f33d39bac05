/* Memory of which the file of pages was stored before it was known where its pages belong. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/streamer_internal.h"

/* Pages of the file, in its order, go to the extents of the pagemap. */
struct placing {
	struct import *im;
	const char *pagemap;
	struct object_writer *writer;
	struct object pages; /* the file */
	uint64_t at;	     /* pages of it that are placed */
	uint64_t index;	     /* where the next one goes */
};

static int place_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct placing *p = arg;
	int rc = object_numbers(p->writer, p->index, numbers, n);

	(void)index;
	p->index += n;
	p->at += n;
	return rc;
}

static int place(uint64_t index, uint64_t n, bool present, void *arg)
{
	struct placing *p = arg;
	uint64_t until = p->at + n;
	int rc;

	if (!present || n > p->pages.length_bytes / PAGE_BYTES - p->at) {
		warn("%s.img: at 0x%" PRIx64 ": %s", p->pagemap, index * PAGE_BYTES,
		     present ? "the file of pages came with fewer"
			     : "pages of a parent, which a stream does not have");
		return R_DAMAGED;
	}
	p->index = index;
	p->im->end = index + n;
	rc = store_object_walk(ingest_view(p->im->ingest), &p->pages, p->at, until, place_run, p);
	return rc == R_OK && p->at != until ? R_DAMAGED : rc;
}

int stream_memory(struct import *im, const char *pagemap, void *arg)
{
	const struct live_session *s = arg;
	struct placing p = { .im = im, .pagemap = pagemap };
	char name[NAME_MAX + 16], pages[64];
	int rc;

	snprintf(pages, sizeof(pages), "%s", EXCHANGE_PREFIX);
	rc = dump_pagemap_load(im->chain, pagemap, pages + strlen(pages),
			       sizeof(pages) - strlen(pages));
	if (rc == R_OK && store_object(ingest_view(im->ingest), s->record, pages, &p.pages) != R_OK)
		p.pages = (struct object){ .height = 0 }; /* fine without a page */
	snprintf(name, sizeof(name), "pages-%s", pagemap + strlen("pagemap-"));
	im->end = 0;
	if (rc != R_OK || (rc = object_begin(im->ingest, name, &p.writer)) != R_OK)
		return rc == R_NOT_FOUND ? R_FAILED : rc;
	rc = dump_pagemap_each(im->chain, place, &p);
	if (object_end(p.writer, im->end * PAGE_BYTES) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc;
}
