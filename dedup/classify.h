/* What number a page gets: an old one if the store has its bytes, or a new one. */
#ifndef SNAP_DEDUP_CLASSIFY_H
#define SNAP_DEDUP_CLASSIFY_H

#include "dedup/recent.h"
#include "store/segment_write.h"

struct classifier {
	struct store_view *view;
	struct segment_writer *writer;
	struct recent *recent;
	bool compare; /* bytes, also where the hash of the same place is equal */
};

/*
 * Gives `*number` for a page that is not zero, storing it if need be; `hash` is its hash.
 * `expected` is the number at the same place in the lineage's last generation, or a reserved one:
 * an equal hash there is trusted unless `compare` is set, and a new page may be stored as a
 * difference to that one.  Any other equal hash is confirmed by comparing bytes.  `*is_new` tells
 * whether the page was stored.  R_OK or R_FAILED.
 */
int classify_page(struct classifier *classifier, enum page_kind kind, const void *page,
		  const uint8_t *hash, page_no expected, page_no *number, bool *is_new);

#endif
