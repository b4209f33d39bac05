/*
 * The right to take things out of a store; gc/ alone includes this.  What may go is argued in
 * gc/DESIGN.md; here each step is made whole: every function leaves an index that agrees with
 * itself, and bytes go only after the commit that stopped referring to them.
 */
#ifndef SNAP_STORE_STORE_REAP_H
#define SNAP_STORE_STORE_REAP_H

#include "store/format.h"
#include "store/hash_index.h"
#include "store/page_set.h"
#include "store/segment_encode.h"

/* One write transaction with that right. */
struct reap;

/*
 * Runs `fn` in a write transaction and commits if it gives R_OK.  It may be run twice (see
 * index_write()), so it must not change anything else that a second run does not set anew.  Takes
 * wait meanwhile: keep it short.  R_OK, what `fn` gave, R_FAILED (also for a store opened for
 * reading only, reported).
 */
int reap_write(struct store *store, int (*fn)(struct reap *reap, void *arg), void *arg);

/* To be called before anything is thrown away: whether all of the index is what it should be.  The
 * opening leaves out what takes can do without.  R_OK or R_FAILED, reported. */
int reap_check(struct store *store);

/* The store as the transaction sees it, for reading. */
struct store_view *reap_view(struct reap *reap);

/* The number of the transaction: views that began before its commit see lower ones. */
uint64_t reap_txn(const struct reap *reap);

/* The lowest transaction an open view of any process sees; UINT64_MAX: there is none. */
int reap_oldest_view(struct store *store, uint64_t *txn);

/* The numbers the next generation and the next pre-dump will get; those of pre-dumps that are
 * counted apart are PREDUMP_FIRST and above. */
int reap_next_numbers(struct store_view *view, uint64_t *generation, uint64_t *predump);

/* How often pages whose hash was dropped have been brought back, by any gc. */
int reap_spares(struct store_view *view, uint64_t *spares);

/* The first generation with at least this number.  R_OK, R_NOT_FOUND, R_FAILED. */
struct reap_generation {
	struct generation gen;
	struct object directory;
	uint64_t commit_txn;
};
int reap_generation_next(struct store_view *view, uint64_t number, struct reap_generation *found);

/* Removes a generation; its lineage's newest is `newest` from now on (0: the lineage ends). */
int reap_forget(struct reap *reap, const struct generation *gen, uint64_t newest);

/* Drops from the index the hashes of pages that `keep` does not have, from `from` (at first zeroes)
 * on, about `most` of them looked at; what is added meanwhile comes behind.  `from` moves on. R_OK,
 * R_NOT_FOUND at the end, R_FAILED.
 */
int reap_hashes(struct reap *reap, const struct page_set *keep, uint8_t from[HASH_KEY_BYTES],
		size_t most, uint64_t *dropped);

/* Moves `from` to the first hash to drop.  R_OK, R_NOT_FOUND (no more), R_FAILED. */
int reap_hashes_seek(struct store_view *view, const struct page_set *keep,
		     uint8_t from[HASH_KEY_BYTES]);

/* A segment as gc sees it. */
struct reap_segment {
	struct segment_record record;
	uint64_t bytes; /* header and body */
	/* If it has been condemned: by which transaction (else 0), and what lived in it then. */
	uint64_t condemned_txn;
	uint64_t digest; /* page_set_digest() of what lived */
	uint32_t live;	 /* pages */
};

/* The first segment, or the first condemned one, with this or a higher first number.  R_OK,
 * R_NOT_FOUND, R_FAILED. */
int reap_segment_next(struct store_view *view, page_no first, struct reap_segment *segment);
int reap_condemned_next(struct store_view *view, page_no first, struct reap_segment *segment);

/* The last segment with this or a lower first number. */
int reap_segment_before(struct store_view *view, page_no first, struct reap_segment *segment);

/*
 * Tells `fn` of pages that are stored as differences, with their bases, in descending order of
 * number; as a base has a lower number, a page is told of after all that are differences to it.
 * Headers are read only of segments that `want` wants.  R_OK, what `fn` gave, R_FAILED; R_DAMAGED
 * if a header is not whole (reported: what its pages need is not known).
 */
int reap_bases(struct store_view *view, bool (*want)(page_no first, page_no last, void *arg),
	       int (*fn)(page_no number, page_no base, void *arg), void *arg);

/* How many segments are condemned and how many holes there are. */
int reap_counts(struct store_view *view, uint64_t *condemned, uint64_t *holes);

/* page_set_digest() of a segment's numbers with the store's secret. */
uint64_t reap_digest(struct store_view *view, const struct page_set *set,
		     const struct reap_segment *segment);

/* R_OK if the transaction still has the segment at the same place, and then what it knows of it;
 * else R_NOT_FOUND. */
int reap_segment_same(struct reap *reap, const struct reap_segment *segment,
		      struct reap_segment *now);

/* Notes that from this transaction on no view finds the segment's dead pages by hash. */
int reap_condemn(struct reap *reap, page_no first, uint32_t live, uint64_t digest);

/* Takes that back, and makes those pages of the segment that `live` has be found again. */
int reap_spare(struct reap *reap, const struct reap_segment *segment, const struct page_set *live);

/* What was condemned before the commit of a generation that is forgotten now counts as condemned by
 * this transaction (why: gc/DESIGN.md). */
int reap_condemn_again(struct reap *reap, uint64_t commit_txn);

/* Takes a condemned segment out of the index; its bytes are free at once. */
int reap_drop(struct reap *reap, const struct reap_segment *segment);

/* Frees the bytes that segments left behind which no view older than `oldest` needs: at most `most`
 * from `key` on, which moves on.  `*pending` grows by the bytes that still wait.  R_OK, R_NOT_FOUND
 * at the end, R_FAILED. */
int reap_holes(struct reap *reap, uint64_t oldest, uint8_t key[HOLE_KEY_BYTES], size_t most,
	       uint64_t *pending);

/* The bytes of all of them, free or not. */
int reap_holes_bytes(struct store_view *view, uint64_t *bytes);

/* New packs with copies of pages that live.  Nothing refers to them before reap_copies_put(). */
struct reap_copies;
struct reap_copies *reap_copies_new(struct store *store); /* NULL: out of memory, reported */

/* What one thread needs to copy, with a view of its own. */
struct reap_copier;
int reap_copier_open(struct reap_copies *copies, struct reap_copier **copier);
void reap_copier_close(struct reap_copier *copier);

/*
 * Makes a segment of the `n` (1 .. SEGMENT_PAGES) pages with these ascending numbers, each checked
 * against its hash, and appends it to a pack; `strong` is as --recompress does, otherwise as a take
 * does.  A difference stays one, to the same base, unless `full` has the page: then it is stored in
 * full.  `*record` is what reap_replace() wants.  R_OK; R_DAMAGED, not reported, with the number in
 * `*bad`; R_FAILED.
 */
int reap_copy(struct reap_copier *copier, const page_no *numbers, uint32_t n, bool strong,
	      const struct page_set *full, struct segment_record *record, page_no *bad);

/* Makes them durable.  R_OK or R_FAILED. */
int reap_copies_sync(struct reap_copies *copies);
uint64_t reap_copies_bytes(struct reap_copies *copies);

/* Enters the new packs into the index, before the first of the two below. */
int reap_copies_put(struct reap *reap, struct reap_copies *copies);

/* Puts copies in the place of segments; what these leave are holes for the views that began before
 * this transaction. */
int reap_replace(struct reap *reap, const struct reap_segment *old, size_t n_old,
		 const struct segment_record *copy, size_t n_copies);

/* The copy is not needed: its bytes are free. */
int reap_discard(struct reap *reap, const struct segment_record *copy);

/* Frees; unless `committed`, removes the packs. */
void reap_copies_close(struct reap_copies *copies, bool committed);

/* Gives free bytes back to the file system: unlinks packs the index does not know and whose writer
 * is gone and temporary files of such writers, punches holes.  `*bytes` grows by what the file
 * system says it got.  R_OK or R_FAILED.
 */
int reap_bytes(struct store *store, uint64_t *bytes);

#endif
