/* Clusters of segments, read and unpacked, and a bounded number of them kept at hand. */
#ifndef SNAP_STORE_CLUSTER_H
#define SNAP_STORE_CLUSTER_H

#include "store/segment_read.h"

/* Where the words of a difference begin in the bytes of its cluster, its bitmap or its runs, and
 * how many runs each half has: one word, as its reader waits for memory. */
typedef uint64_t cluster_spot;
#define SPOT_PLACE_BITS 24
#define SPOT_RUNS_BITS 8

static inline cluster_spot spot_of(uint64_t words, uint64_t shape, uint64_t first, uint64_t second)
{
	return words | shape << SPOT_PLACE_BITS | first << 2 * SPOT_PLACE_BITS |
	       second << (2 * SPOT_PLACE_BITS + SPOT_RUNS_BITS);
}
static inline uint32_t spot_words(cluster_spot spot)
{
	return spot & ((1u << SPOT_PLACE_BITS) - 1);
}
static inline uint32_t spot_shape(cluster_spot spot)
{
	return spot_words(spot >> SPOT_PLACE_BITS);
}
static inline uint8_t spot_runs(cluster_spot spot, unsigned int half)
{
	return (uint8_t)(spot >> (2 * SPOT_PLACE_BITS + half * SPOT_RUNS_BITS));
}

/* A cluster in memory: pages one after the other; or differences, with bitmaps before all words or
 * heads and runs behind these. */
struct cluster {
	page_no first;	/* of its segment */
	uint32_t index; /* in its segment */
	bool delta, runs;
	bool whole; /* false: its stored bytes cannot be had or make no cluster */
	uint32_t pages;
	uint8_t *bytes;			   /* of a cluster that is whole */
	size_t len;			   /* of these */
	bool lent;			   /* they are somebody else's */
	size_t size_bytes;		   /* what keeping it costs */
	uint64_t used[SEGMENT_PAGES / 64]; /* pages that somebody has had, a bit for each, */
	uint32_t n_used;		   /* and how many these are */
	uint64_t round;			   /* of the cache, when it was used last */
	struct cluster *newer, *older;	   /* among those kept */
	struct cluster *chained;	   /* in the same bucket */
	cluster_spot spots[];		   /* of differences: one of each, and where they end */
};

/* What one thread needs for unpacking. */
struct unpacker;
struct unpacker *unpacker_new(void);
void unpacker_free(struct unpacker *unpacker);

/* From now on a cluster that has a checksum is whole only if its stored bytes are what was written,
 * for who relies on them without making pages of them.  `secret` (SECRET_BYTES) must outlive it. */
void unpacker_check_sums(struct unpacker *unpacker, const uint8_t *secret);

/* Where a cluster is. */
struct cluster_place {
	page_no first;	/* of its segment */
	uint32_t index; /* in its segment */
	struct segment_cluster cluster;
	uint64_t pack, offset; /* of the cluster itself */
	int fd;		       /* of the pack */
};
struct cluster_place cluster_place_of(const struct segment *segment, uint32_t index, int fd);

/* Reads a cluster, if `to` is not NULL to there: room for its pages, if it is one of full pages.
 * R_OK (damage shows in ->whole), or R_FAILED.  Freed with cluster_free(). */
int cluster_read(struct unpacker *unpacker, const struct cluster_place *place, uint8_t *to,
		 struct cluster **cluster);
void cluster_free(struct cluster *cluster);

/* Frees it too; the next cluster of full pages that is as long is unpacked to its memory, while the
 * processor has that. */
void cluster_reuse(struct unpacker *unpacker, struct cluster *cluster);

/* The full page at a place of a cluster that is whole. */
const uint8_t *cluster_page(const struct cluster *cluster, uint32_t at);

/* Makes of the base in `page` the page at this place of a cluster of differences. */
void cluster_apply(const struct cluster *cluster, uint32_t at, uint8_t *page);

/* Which words it changes: writes DELTA_BITMAP_BYTES of bits. */
void cluster_differs(const struct cluster *cluster, uint32_t at, uint8_t *bitmap);

/* What it changes them to: words of 8 bytes, and how many these are. */
const uint8_t *cluster_words(const struct cluster *cluster, uint32_t at, uint32_t *n);

/* Tells the processor that the page at this place of a cluster that is whole is needed soon. */
void cluster_fetch_ahead(const struct cluster *cluster, uint32_t at);

/* The same of what tells where the difference at this place lies, which comes before that. */
void cluster_fetch_spot(const struct cluster *cluster, uint32_t at);

/* Up to `budget_bytes` of clusters, those used last.  NULL: out of memory, not reported. */
struct cluster_cache;
struct cluster_cache *cluster_cache_new(size_t budget_bytes);
void cluster_cache_free(struct cluster_cache *cache);
void cluster_cache_resize(struct cluster_cache *cache, size_t budget_bytes);

/* Begins a round, and frees what was used in none of the last `kept` ones. */
void cluster_cache_round(struct cluster_cache *cache, uint64_t kept);

/* NULL if it is not there. */
struct cluster *cluster_cache_find(struct cluster_cache *cache, page_no first, uint32_t index);

/* Takes the cluster out of the cache; the caller has it then. */
void cluster_cache_take(struct cluster_cache *cache, struct cluster *cluster);

/* Notes that somebody has had this page of the cluster. */
static inline void cluster_use(struct cluster *cluster, uint32_t at)
{
	uint64_t bit = UINT64_C(1) << at % 64;

	cluster->n_used += !(cluster->used[at / 64] & bit);
	cluster->used[at / 64] |= bit;
}

/* Takes the cluster over.  Frees others to stay within the budget, never the one put last. */
void cluster_cache_put(struct cluster_cache *cache, struct cluster *cluster);

#endif
