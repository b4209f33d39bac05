/*
 * Which page has which hash, in the index: sorted runs, as takes commit them, merged into longer
 * ones in the background of later commits.  An entry is only a hint: six bytes of the hash and a
 * number, 12 bytes for a page.  Who follows it compares the whole hash, and then the bytes; the
 * page may be of a take that never committed, or gone.
 */
#ifndef SNAP_STORE_HASH_INDEX_H
#define SNAP_STORE_HASH_INDEX_H

#include "store/index.h"
#include "store/page_set.h"

/* What an entry takes in the index. */
#define HASH_ENTRY_BYTES 12u

struct hash_entry {
	uint64_t prefix; /* hash_prefix() */
	page_no number;
};

/* What the index knows of a hash. */
uint64_t hash_prefix(const uint8_t hash[HASH_BYTES]);

/* Adds a run of the entries, which it sorts.  R_OK or R_FAILED. */
int hash_index_add(struct index_txn *txn, struct hash_entry *entries, size_t n);

/*
 * The runs as one transaction sees them; read at the first search.  A search goes to a block of
 * each run, and who looks for many hashes goes to all of them in no order, so that all of the table
 * would be mapped in the end.  Once 32 MiB of it may be, blocks are read from the file instead; and
 * when that has taken as long as a pass over all entries does, a filter is made that tells of most
 * hashes that they are not there.
 */
struct hash_runs;

/* For tests: a table of so many blocks may be mapped as a whole; 0 is the default. */
void hash_index_set_mapped_blocks(uint64_t blocks);
struct hash_runs *hash_runs_new(void); /* NULL: out of memory, not reported */
void hash_runs_free(struct hash_runs *runs);

/* Tells at most `room` numbers whose hash may be this one, those added last first.  R_OK (`*n` may
 * be 0) or R_FAILED. */
int hash_index_find(struct index_txn *txn, struct hash_runs *runs, const uint8_t hash[HASH_BYTES],
		    page_no *numbers, size_t room, size_t *n);

/* Where a pass over all entries is. */
#define HASH_KEY_BYTES 16

/* Takes out the entries whose number `keep` does not have, from `key` (at first zeroes) on, at
 * least `most` entries looked at.  `key` moves on.  R_OK, R_NOT_FOUND at the end, R_FAILED. */
int hash_index_drop(struct index_txn *txn, const struct page_set *keep, uint8_t key[HASH_KEY_BYTES],
		    size_t most, uint64_t *dropped);

/* Moves `key` to where there is something to take out.  R_OK, R_NOT_FOUND, R_FAILED. */
int hash_index_seek(struct index_txn *txn, const struct page_set *keep,
		    uint8_t key[HASH_KEY_BYTES]);

/* Merges runs, about `budget` entries, in transactions short enough for a take to wait for.  May be
 * interrupted anywhere.  R_OK or R_FAILED. */
int hash_index_merge(struct index *index, size_t budget);

#endif
