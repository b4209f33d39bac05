/*
 * The bytes of one segment, made of its pages: header, clusters, compression.  It knows neither
 * packs nor threads; who writes the bytes where is the business of the caller (a take's writer, or
 * gc when it moves pages that live).
 */
#ifndef SNAP_STORE_SEGMENT_ENCODE_H
#define SNAP_STORE_SEGMENT_ENCODE_H

#include "store/format.h"

/* One page of a segment to be. */
struct segment_page {
	page_no number;
	/* A page it may be stored as a difference to, with a lower number; PAGE_ABSENT: none.  The
	 * encoder does so if at most DELTA_WORDS_MAX words differ; else the base is forgotten. */
	page_no base;
	const uint8_t *hash; /* HASH_BYTES */
	const uint8_t *bytes;
	const uint8_t *base_bytes; /* of the base, if there is one */
	/* Its difference to the base as it was stored once, in place of the two above; NULL: none.
	 */
	const uint8_t *difference; /* DELTA_BITMAP_BYTES, then the words */
	bool raw; /* known not to get smaller: it is stored as it is, without being tried again */
	/* Its difference goes by zstd where others go by LZ4, with all of the segment: numbers of
	 * pages that follow each other, as page trees have them, get small by that only. */
	bool tight;
	/* Encrypted: as `raw`, and never a difference.  All pages of a segment are or none is. */
	bool sealed;
};

/* How it is to be packed.  A longer cluster packs tighter and costs more where one page is read. */
struct segment_coding {
	int level, delta_level; /* of zstd */
	/* Of LZ4's slow packing, for differences: a fifth longer than by zstd, and unpacked in a
	 * third of the time.  0: none. */
	int lz4_level;
	bool runs;		/* these have runs in place of bitmaps, which are quicker to read */
	uint32_t cluster_pages; /* of full pages in a cluster, 1 .. SEGMENT_PAGES */
	uint32_t flags;		/* noted in the segment beside its own: SEGMENT_STRONG, _SUMS */
};

/* What takes use: figures in docs/store-figures.md; and gc --recompress: figures in gc/DESIGN.md.
 */
extern const struct segment_coding segment_coding_take, segment_coding_strong;

/* What of that stores of an earlier format may have. */
struct segment_coding segment_coding_of(unsigned int version, bool strong);

struct segment_encoder;

/* One for each thread.  `secret` (SECRET_BYTES) must outlive it.  NULL: out of memory, reported. */
struct segment_encoder *segment_encoder_new(const uint8_t *secret,
					    const struct segment_coding *coding);
void segment_encoder_free(struct segment_encoder *encoder);

/*
 * Makes a segment of `n` pages (1 .. SEGMENT_PAGES) in ascending order of number; there may be
 * gaps. Returns its bytes, valid until the next call, and sets everything of `*record` but the
 * place (pack, offset): header and body lie one after the other.
 */
const uint8_t *segment_encode(struct segment_encoder *encoder, const struct segment_page *pages,
			      uint32_t n, struct segment_record *record);

#endif
