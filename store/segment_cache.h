/* What a view keeps at hand, shared by reading single pages and reading many. */
#ifndef SNAP_STORE_SEGMENT_CACHE_H
#define SNAP_STORE_SEGMENT_CACHE_H

#include "store/cluster.h"

#define PACK_SLOTS 128
#define SEGMENT_SLOTS 512u /* about 11 KiB each when filled */
#define SEGMENT_BUCKETS 1024u
#define SEGMENT_HINTS 16384u
#define HINT_PAGES 64u /* numbers that share one: those of a segment have 4 or 5 */

struct pack_slot {
	uint64_t pack;
	int fd; /* -1: empty */
};

/* A header, found by its first number; other slots are named by their place + 1. */
struct segment_slot {
	struct segment segment;
	uint16_t chained; /* in the same bucket */
	bool used;	  /* since the hand went over it */
};

struct bulk;
struct store_view;

struct segment_cache {
	struct segment_slot slots[SEGMENT_SLOTS];
	uint16_t buckets[SEGMENT_BUCKETS], n_slots;
	uint16_t slots_max;	       /* up to SEGMENT_SLOTS; what there are already stay */
	uint16_t hand;		       /* the slot looked at last when one was to be given up */
	uint16_t hints[SEGMENT_HINTS]; /* the slot that a number near by was in */
	struct cluster_cache *clusters;
	struct cluster_cache *full; /* clusters of full pages, if kept apart; else NULL */
	struct unpacker *unpacker;
	struct pack_slot packs[PACK_SLOTS];
	bool packs_held;	  /* descriptors are in use elsewhere: none may be closed */
	uint8_t page[PAGE_BYTES]; /* the last one made of a difference */
	struct bulk *bulk;	  /* once many pages were read */
};

/* The descriptor of a pack.  R_OK; R_DAMAGED if the pack is gone; R_BUSY if another would have to
 * be closed for it, but they are held; R_FAILED. */
int cached_pack(struct store_view *view, uint64_t pack, int *fd);

/* The segment whose range holds the number, its header read and whole; valid until the next call.
 * R_OK, R_DAMAGED (not reported), R_BUSY as above, R_FAILED. */
int cached_segment(struct store_view *view, page_no number, struct segment **found);

/* Has what is known of a page, and its hash if that is asked for, on its way to the processor; if
 * its segment is not at hand, nothing. */
void cached_fetch_ahead(struct segment_cache *cache, page_no number, bool hash);

/* The page it is stored as a difference to; PAGE_ABSENT also if that is not known yet. */
page_no cached_base(struct segment_cache *cache, page_no number);

void cached_segments_free(struct segment_cache *cache);

/* Where clusters of differences or of full pages are kept. */
struct cluster_cache *cached_clusters(const struct segment_cache *cache, bool delta);

void bulk_free(struct bulk *bulk);

#endif
