/* What the files of store/ share, and what dedup/ and gc/ get through the headers beside it. */
#ifndef SNAP_STORE_STORE_INTERNAL_H
#define SNAP_STORE_STORE_INTERNAL_H

#include "store/format.h"
#include "store/index.h"

#include <sys/types.h>

struct store {
	char *dir;
	int dirfd, packs_fd;
	int index_fd; /* of a writer: holds the lock that keeps a repair away; else -1 */
	bool writable;
	uint8_t uuid[UUID_BYTES];
	uint8_t secret[SECRET_BYTES];
	struct index *index;
	/* The page-by-page look at the index, see walked.h: when all of it was looked at last (0:
	 * not known), up to which transaction the note goes, and whether this opening did. */
	int64_t walked_s;
	uint64_t walked_txn;
	bool walked_all;
	dev_t dev;
	ino_t ino;
	struct store *next; /* of the stores open in this process */
};

struct segment_cache;
struct directory;
struct hash_runs;

struct store_view {
	struct store *store;
	struct index_txn *txn;
	struct segment_cache *cache;
	struct directory *directory; /* of the generation asked for last */
	struct hash_runs *runs;	     /* once a hash was looked for */
	unsigned int one_of;	     /* readers side by side; 0 as 1 */
};

/* Frees what store/object.c keeps in a view. */
void directory_free(struct directory *directory);

/* The whole record of a generation in any transaction.  R_OK, R_NOT_FOUND, R_DAMAGED (reported),
 * R_FAILED. */
int generation_read(struct index_txn *txn, uint64_t number, struct generation_record *record);
int generation_write(struct index_txn *txn, const struct generation_record *record);
/* Makes `number` the newest generation, or pre-dump, of the lineage of `gen`; 0: there is none. */
int generation_set_newest(struct index_txn *txn, const struct generation *gen, uint64_t number);
/* The first whole generation with at least this number. */
int generation_ceiling(struct index_txn *txn, uint64_t number, struct generation_record *record);

/* Removes the packs dead writers left.  `*bytes` (may be NULL) grows by what that gave back.
 * Failures to remove one are reported and passed over; R_OK or R_FAILED. */
int recover_packs(struct store *store, uint64_t *bytes);

/* Looks at all of the index, unless the opening has.  R_OK or R_FAILED, reported. */
int store_walk_all(struct store *store);

#endif
