/* The hashes of this take's own new pages, which the index does not know before the commit. */
#ifndef SNAP_DEDUP_RECENT_H
#define SNAP_DEDUP_RECENT_H

#include "store/format.h"

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *recent);

/* PAGE_ABSENT if it is not there. */
page_no recent_find(const struct recent *recent, const uint8_t hash[HASH_BYTES]);

/* Remembers a hash; silently not, once the table has its greatest size: then a page that comes
 * twice is stored twice. */
void recent_add(struct recent *recent, const uint8_t hash[HASH_BYTES], page_no number);

#endif
