/* Single pages: what they hash to, and whether they are zero. */
#ifndef SNAP_STORE_PAGE_H
#define SNAP_STORE_PAGE_H

#include "store/format.h"

/* XXH3-128 of a page with the store's secret (SECRET_BYTES), in canonical form. */
void page_hash(const uint8_t *secret, const void *page, uint8_t hash[HASH_BYTES]);

/* XXH3-64 of a segment's header, or of the stored bytes of a cluster, with the store's secret. */
uint64_t segment_checksum(const uint8_t *secret, const void *bytes, size_t len);

bool page_is_zero(const void *page);

#endif
