/* Segments and their pages, read back and verified. */
#ifndef SNAP_STORE_SEGMENT_READ_H
#define SNAP_STORE_SEGMENT_READ_H

#include "store/store_internal.h"

/* A segment's header in memory. */
struct segment {
	struct segment_record record;
	uint32_t clusters;
	uint8_t *header; /* record.header_bytes */
};

/* Reads and checks the header of a segment from its open pack.  R_OK; R_DAMAGED, not reported;
 * R_FAILED.  segment_free() undoes. */
int segment_load(const uint8_t *secret, int fd, const struct segment_record *record,
		 struct segment *segment);
void segment_free(struct segment *segment);

/* The place of a number in the segment, -1 if it has none. */
int segment_find(const struct segment *segment, page_no number);
page_no segment_number(const struct segment *segment, uint32_t place);
const uint8_t *segment_hash(const struct segment *segment, uint32_t place);

/* Bytes the cluster of this place takes in the pack, and its pages. */
void segment_cluster_size(const struct segment *segment, uint32_t place, uint32_t *bytes,
			  uint32_t *pages);

/* Reads one cluster into `pages` (CLUSTER_BYTES) and sets a bit in `*whole` for each of its pages
 * that has its hash.  R_OK (damage shows in `*whole`) or R_FAILED. */
int segment_read_cluster(const uint8_t *secret, int fd, const struct segment *segment,
			 uint32_t cluster, uint8_t *pages, uint32_t *whole);

/* The caches of a view. */
struct segment_cache *segment_cache_new(void);
void segment_cache_free(struct segment_cache *cache);

/* The segment of a stored page and the page's place in it; valid until the next call on the view.
 * R_OK; R_DAMAGED if there is none or its header is not whole (not reported); R_FAILED. */
int view_segment(struct store_view *view, page_no number, const struct segment **segment,
		 uint32_t *place);

/* One page, verified; `*page` is valid until the next call on the view.  R_OK, R_DAMAGED (not
 * reported), R_FAILED.  Takes the reserved numbers too. */
int view_page(struct store_view *view, page_no number, const uint8_t **page);

/* The hash a stored page has by its segment's header, without reading the page. */
int view_page_hash(struct store_view *view, page_no number, const uint8_t **hash);

#endif
