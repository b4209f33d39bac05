/* What is to be known of pages before they are looked for, worked out by all processors. */
#ifndef SNAP_DEDUP_DIGEST_H
#define SNAP_DEDUP_DIGEST_H

#include "store/format.h"

struct crew;

struct digest {
	uint8_t hash[HASH_BYTES]; /* not set for a zero page */
	bool zero;
};

/* Pages looked at together at most. */
#define DIGEST_PAGES 1024u

/* Fills `digests` for `n` pages (at most DIGEST_PAGES) with the store's secret.  With few pages, or
 * `crew` NULL, the caller's thread does it alone. */
void digest_pages(struct crew *crew, const uint8_t *secret, const uint8_t *pages, size_t n,
		  struct digest *digests);

#endif
