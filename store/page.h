/* Single pages: what they hash to, and whether they are zero. */
#ifndef SNAP_STORE_PAGE_H
#define SNAP_STORE_PAGE_H

#include "store/format.h"

/* XXH3-128 of a page with the store's secret (SECRET_BYTES), in canonical form. */
void page_hash(const uint8_t *secret, const void *page, uint8_t hash[HASH_BYTES]);

/* XXH3-64 of a segment header with the store's secret. */
uint64_t header_checksum(const uint8_t *secret, const void *header, size_t len);

bool page_is_zero(const void *page);

#endif
