/* The byte layouts of FORMAT.md and their translation to and from memory. */
#ifndef SNAP_STORE_FORMAT_H
#define SNAP_STORE_FORMAT_H

#include "store/store.h"

/* What new stores are made as; those of FORMAT_OLDEST and later are read, and written as they are.
 */
#define FORMAT_VERSION 6
#define FORMAT_OLDEST 2
#define FORMAT_LZ4 3	  /* the first with CODEC_DELTA_LZ4 */
#define FORMAT_PREDUMPS 4 /* the first that counts pre-dumps apart */
#define FORMAT_SUMS 5	  /* the first whose clusters have checksums */
#define FORMAT_RUNS 6	  /* the first with CODEC_DELTA_RUNS */
#define HASH_BYTES 16
/* Bits of the hash that are not zero.  Fewer are for tests: that nothing relies on hashes alone. */
#ifdef SNAP_HASH_BITS
#define HASH_BITS SNAP_HASH_BITS
#else
#define HASH_BITS 128
#endif
#define SECRET_BYTES 192 /* XXH3 wants at least 136; as long as its own default */
#define UUID_BYTES 16

#define NODE_ENTRIES 512u
#define TREE_HEIGHT_MAX 7 /* 7 * 9 bits cover every index of a 64-bit address >> 12 */

#define SEGMENT_PAGES 256u /* 1 MiB before compression */
#define SEGMENT_BYTES (SEGMENT_PAGES * PAGE_BYTES)

/* Pages beyond, which no store comes to, are not found by hash and not the base of others. */
#define PAGE_NO_BITS 48
#define PAGE_NO_MAX ((UINT64_C(1) << PAGE_NO_BITS) - 1)

/*
 * Numbers from here on are of pre-dumps that are counted apart, so that generations have no gaps by
 * them.  No store comes to so many generations, and machines that read JSON have whole numbers up
 * to twice that.
 */
#define PREDUMP_FIRST (UINT64_C(1) << 52)

#define PACK_MAGIC "SNAPPACK"
#define PACK_HEADER_BYTES 64
#define SEGMENT_MAGIC "SNAPSEG2"
#define SEGMENT_HEAD_BYTES 32
#define SEGMENT_CHECKSUM_BYTES 8
#define CLUSTER_SUM_BYTES 8
/* Gap, base and cluster of every page as long as they can be: a cluster has three numbers. */
#define SEGMENT_HEADER_MAX \
	(SEGMENT_HEAD_BYTES + SEGMENT_PAGES * (HASH_BYTES + 5 * 10u + CLUSTER_SUM_BYTES) + \
	 SEGMENT_CHECKSUM_BYTES)

enum segment_flags {
	SEGMENT_SPARSE = 1, /* its numbers have gaps */
	SEGMENT_DELTAS = 2, /* some of its pages are differences to others */
	SEGMENT_STRONG = 4, /* compressed as strongly as gc does */
	SEGMENT_SEALED = 8, /* of encrypted pages: not to be found by hash, stored as they are */
	SEGMENT_SUMS = 16,  /* each cluster has a checksum */
};

/* How the bytes of a cluster are stored: its pages, or their differences; as such, or a zstd frame
 * of that, or one of the planes of the pages, or the length of the differences and an LZ4 block; or
 * the shapes of the differences and an LZ4 block of their words. */
enum codec {
	CODEC_RAW = 0,
	CODEC_ZSTD = 1,
	CODEC_DELTA_RAW = 2,
	CODEC_DELTA_ZSTD = 3,
	CODEC_PLANES = 4,
	CODEC_DELTA_LZ4 = 5,
	CODEC_DELTA_RUNS = 6,
	CODEC_LAST = CODEC_DELTA_RUNS,
};

static inline bool codec_is_delta(enum codec codec)
{
	return codec == CODEC_DELTA_RAW || codec == CODEC_DELTA_ZSTD || codec == CODEC_DELTA_LZ4 ||
	       codec == CODEC_DELTA_RUNS;
}

#define LZ4_LENGTH_BYTES 4 /* before the block */

/* Differences over one full page, one over another: what is written at most, and what a reader
 * accepts before it takes the page for damaged. */
#define CHAIN_WRITTEN_MAX 16u
/* What is written of page trees and images: a restore begins with them and reads each in turn. */
#define CHAIN_TIGHT_MAX 4u
#define CHAIN_MAX 64u

/* A segment as the index knows it. */
struct segment_record {
	page_no first; /* key */
	page_no last;
	uint64_t pack, offset;
	uint32_t header_bytes, body_bytes, pages;
	uint32_t flags; /* enum segment_flags */
	uint64_t checksum;
};
#define SEGMENT_RECORD_BYTES 48
void segment_record_encode(const struct segment_record *record, uint8_t *raw);
void segment_record_decode(page_no first, const uint8_t *raw, struct segment_record *record);

struct pack_record {
	uint64_t bytes;	   /* written */
	uint64_t segments; /* and holes that are not free */
};
#define PACK_RECORD_BYTES 16
void pack_record_encode(const struct pack_record *record, uint8_t *raw);
void pack_record_decode(const uint8_t *raw, struct pack_record *record);

/* A segment with dead pages, none of which a view that began with or after `txn` finds by hash. */
struct condemned_record {
	uint64_t txn;
	uint64_t digest; /* page_set_digest() of the pages that lived then */
	uint32_t live;	 /* how many these were */
};
#define CONDEMNED_RECORD_BYTES 24
void condemned_record_encode(const struct condemned_record *record, uint8_t *raw);
void condemned_record_decode(const uint8_t *raw, struct condemned_record *record);

/* Bytes of a pack that belong to no segment any more. */
struct hole_record {
	uint64_t txn; /* views that began before it may still read them; HOLE_FREE: none does */
	uint64_t bytes;
};
#define HOLE_FREE ((uint64_t)0)
#define HOLE_KEY_BYTES 16 /* pack and offset, big-endian */
#define HOLE_RECORD_BYTES 16
void hole_record_encode(const struct hole_record *record, uint8_t *raw);
void hole_record_decode(const uint8_t *raw, struct hole_record *record);

struct generation_record {
	uint64_t commit_txn;
	struct object directory;
	struct generation gen;
};
#define GENERATION_RECORD_BYTES 272
void generation_record_encode(const struct generation_record *record, uint8_t *raw);
/* Whether a record is as it was written, by its checksum. */
bool generation_record_whole(uint64_t number, const uint8_t *raw);
void generation_record_decode(uint64_t number, const uint8_t *raw,
			      struct generation_record *record);

/* One entry of a directory object. */
#define DIRECTORY_ENTRY_BYTES 22 /* and the name */
#define OBJECT_NAME_MAX 255

#endif
