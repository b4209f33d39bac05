/*
 * What a search has read already, and what it found there.
 *
 * A match within a page belongs to the page's number, one across a border to the pair of numbers on
 * both sides of it.  As numbers refer to the same bytes for ever, neither is looked at twice, in
 * however many generations it stands.
 */
#ifndef SNAP_ENGINE_LOOK_SCANNED_H
#define SNAP_ENGINE_LOOK_SCANNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* Bytes of a match that are kept to be shown. */
#define SCANNED_SHOWN_BYTES 64

/* One match in a page, or one that begins in the first page of a pair. */
struct scanned_hit {
	uint32_t offset; /* in the (first) page */
	uint32_t len;
	uint32_t shown; /* bytes in `bytes` */
	uint8_t bytes[SCANNED_SHOWN_BYTES];
	size_t next; /* of the same page or pair; 0: none */
};

struct scanned;

/* NULL: out of memory, reported. */
struct scanned *scanned_new(void);
void scanned_free(struct scanned *scanned);

/* Has the page been looked at, the border between `a` and `b`?  No match goes on from a page that
 * is not open, so that its borders need no look. */
bool scanned_page(const struct scanned *scanned, page_no number);
bool scanned_open(const struct scanned *scanned, page_no number);
bool scanned_border(const struct scanned *scanned, page_no a, page_no b);

/* Could it be read?  A page that could not counts as looked at. */
bool scanned_damaged(const struct scanned *scanned, page_no number);

/* Marks them: as looked at, as one that a match could go on behind, as damaged.  R_OK or R_FAILED
 * (out of memory, reported). */
int scanned_set_page(struct scanned *scanned, page_no number);
int scanned_set_open(struct scanned *scanned, page_no number);
int scanned_set_damaged(struct scanned *scanned, page_no number);
int scanned_set_border(struct scanned *scanned, page_no a, page_no b);

/* Adds a hit, behind those that are there; `b` is PAGE_ABSENT for one within page `a`. */
int scanned_add(struct scanned *scanned, page_no a, page_no b, const struct scanned_hit *hit);

/* How many hits there are. */
size_t scanned_hits(const struct scanned *scanned);

/* Is there a hit in the page, or at a border behind it? */
bool scanned_has_hits(const struct scanned *scanned, page_no number);

/* The first hit, and the one behind a hit, in the order they were added; NULL: no more.  Valid
 * until the next scanned_add(). */
const struct scanned_hit *scanned_first(const struct scanned *scanned, page_no a, page_no b);
const struct scanned_hit *scanned_next(const struct scanned *scanned,
				       const struct scanned_hit *hit);

/* Its place among all hits, the same for ever. */
size_t scanned_id(const struct scanned *scanned, const struct scanned_hit *hit);
const struct scanned_hit *scanned_by_id(const struct scanned *scanned, size_t id);

#endif
