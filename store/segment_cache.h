/* What a view keeps at hand, shared by reading single pages and reading many. */
#ifndef SNAP_STORE_SEGMENT_CACHE_H
#define SNAP_STORE_SEGMENT_CACHE_H

#include "store/cluster.h"

#define PACK_SLOTS 128
#define SEGMENT_SLOTS 512 /* about 11 KiB each when filled: headers of 512 MiB of pages */

struct pack_slot {
	uint64_t pack;
	int fd; /* -1: empty */
};

struct bulk;

struct segment_cache {
	struct segment segments[SEGMENT_SLOTS]; /* placed by number / SEGMENT_PAGES */
	struct cluster_cache *clusters;
	struct unpacker *unpacker;
	struct pack_slot packs[PACK_SLOTS];
	bool packs_held;	  /* descriptors are in use elsewhere: none may be closed */
	uint8_t page[PAGE_BYTES]; /* the last one made of a difference */
	struct bulk *bulk;	  /* once many pages were read */
};

/* The descriptor of a pack.  R_OK; R_DAMAGED if the pack is gone; R_BUSY if another would have to
 * be closed for it, but they are held; R_FAILED. */
int cached_pack(struct store_view *view, uint64_t pack, int *fd);

void bulk_free(struct bulk *bulk);

#endif
