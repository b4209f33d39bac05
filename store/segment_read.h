/* Segments and their pages, read back and verified. */
#ifndef SNAP_STORE_SEGMENT_READ_H
#define SNAP_STORE_SEGMENT_READ_H

#include "store/store_internal.h"

/* Eight bytes, as who follows chains looks at one here and one there of many. */
struct segment_place {
	page_no base : PAGE_NO_BITS; /* PAGE_ABSENT if the page is stored in full */
	page_no cluster : 8, at : 8;
};

_Static_assert(sizeof(struct segment_place) == 8 && SEGMENT_PAGES <= 1 << 8, "a word for a place");

struct segment_cluster {
	uint32_t offset, bytes; /* in the body */
	uint16_t pages;
	uint8_t codec;
	bool has_sum;
	uint64_t sum; /* of the stored bytes, if it has one */
};

/* A segment's header in memory, read and checked. */
struct segment {
	struct segment_record record;
	uint32_t clusters;
	uint8_t *header;   /* record.header_bytes, and what the three below point to */
	size_t room_bytes; /* of all that */
	struct segment_place *pages;
	page_no *numbers; /* NULL: they have no gaps */
	struct segment_cluster *cluster;
};

/* Reads and checks the header of a segment from its open pack.  R_OK; R_DAMAGED, not reported;
 * R_FAILED.  segment_free() undoes. */
int segment_load(const uint8_t *secret, int fd, const struct segment_record *record,
		 struct segment *segment);
void segment_free(struct segment *segment);

/* The same in place of a loaded segment, or of one that is all zero, and to its memory if that will
 * do.  After a failure it is one whose record is all zero. */
int segment_reload(const uint8_t *secret, int fd, const struct segment_record *record,
		   struct segment *segment);

/* The place of a number in the segment, -1 if it has none. */
int segment_find(const struct segment *segment, page_no number);
page_no segment_number(const struct segment *segment, uint32_t place);
const uint8_t *segment_hash(const struct segment *segment, uint32_t place);

/* The page this one is stored as a difference to, PAGE_ABSENT if it is stored in full.  It may be a
 * difference itself. */
page_no segment_base(const struct segment *segment, uint32_t place);

/* Bytes the cluster of this place takes in the pack, and its pages. */
void segment_cluster_size(const struct segment *segment, uint32_t place, uint32_t *bytes,
			  uint32_t *pages);

/* The caches of a view. */
struct segment_cache *segment_cache_new(void);
void segment_cache_free(struct segment_cache *cache);

/*
 * For reading bases in order of address.  How much the view keeps at hand of clusters of
 * differences and, apart from them, of clusters of full pages, in place of what it would by itself.
 * R_OK, or R_FAILED without memory, reported.  With each stretch that begins, what was last needed
 * before the last one is let go of.
 */
int view_keep_bases(struct store_view *view, size_t difference_bytes, size_t full_bytes);
void view_begin_stretch(struct store_view *view);

/* The segment of a stored page and the page's place in it; valid until the next call on the view.
 * R_OK; R_DAMAGED if there is none or its header is not whole (not reported); R_FAILED. */
int view_segment(struct store_view *view, page_no number, const struct segment **segment,
		 uint32_t *place);

/* One page, verified; `*page` is valid until the next call on the view.  R_OK, R_DAMAGED (not
 * reported; also when a base of it is damaged), R_FAILED.  Takes the reserved numbers too. */
int view_page(struct store_view *view, page_no number, const uint8_t **page);

/* The hash a stored page has by its segment's header, without reading the page. */
int view_page_hash(struct store_view *view, page_no number, const uint8_t **hash);

/* The page it is stored as a difference to, PAGE_ABSENT if it is stored in full or reserved.  R_OK,
 * R_DAMAGED (not reported), R_FAILED. */
int view_page_base(struct store_view *view, page_no number, page_no *base);

/*
 * A page's difference as it is stored, for a view that checks sums (view_check_sums()): its bitmap
 * and words, DELTA_BITMAP_BYTES and 8 bytes for each bit of that, at most DELTA_WORDS_MAX.  Nothing
 * is known of what it is a difference to.  R_OK; R_NOT_FOUND: it is none, or nothing tells that it
 * is what was written; R_DAMAGED (not reported); R_FAILED.
 */
int view_page_difference(struct store_view *view, page_no number, uint8_t *difference);
void view_check_sums(struct store_view *view);

/* The pages that a page is made of: first the full one, last itself. */
struct page_chain {
	uint32_t n;
	page_no numbers[CHAIN_WRITTEN_MAX + 1];
	uint8_t pages[CHAIN_WRITTEN_MAX + 1][PAGE_BYTES];
};

/* Makes all of a stored page's chain, not verified.  R_OK; R_NOT_FOUND: it is longer than takes
 * write them; R_DAMAGED (not reported); R_FAILED. */
int view_page_chain(struct store_view *view, page_no number, struct page_chain *chain);

/* Whether these are the bytes of a stored page.  R_OK, R_DAMAGED (not reported), R_FAILED. */
int view_check_page(struct store_view *view, page_no number, const uint8_t *bytes);

/*
 * Reads one page through an open segment, which the caller holds; its bases, if it has any, through
 * the view.  `page` gets PAGE_BYTES.  For pages no view knows yet.  R_OK, R_DAMAGED, R_FAILED.
 */
struct cluster;
int segment_read_page(struct store_view *view, const struct segment *segment, uint32_t place,
		      const struct cluster *cluster, uint8_t *page);

#endif
