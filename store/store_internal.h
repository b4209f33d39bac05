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
	unsigned int version; /* of its format */
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

/* The numbers that the next generation and the next pre-dump get; the latter is of use only in
 * stores that count them apart. */
int generation_next_numbers(struct index_txn *txn, uint64_t *generation, uint64_t *predump);
/* Gives the generation or pre-dump that is being committed its number. */
int generation_number(struct store *store, struct index_txn *txn, struct generation *gen);

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
/* Removes the temporary files they left.  Returns the bytes that gave back; what cannot be removed
 * stays. */
uint64_t recover_temporaries(const struct store *store);

/* ---- store.c ---- */

/* Opens the packs and the index, or makes an index in the new store.  R_OK, R_BUSY, R_FAILED. */
int store_open_rooms(struct store *store, bool create);

/* ---- mark.c: the file that makes a directory a store ---- */

#define MARK_FILE "snap-store"

/* R_OK, R_NOT_FOUND (nothing reported: there is none), R_DAMAGED, R_FAILED. */
int store_mark_read(struct store *store);
int store_mark_write(struct store *store);
/* Reports it, and gives R_DAMAGED. */
int store_mark_damaged(const struct store *store, const char *how);

/* ---- create.c ---- */

/* The folders above the store as well: a new user has no ~/.local/share yet.  0, or -1 and errno.
 */
int store_make_directory(const struct store *store);
/* R_OK if there is nothing but what an interrupted creation may have left behind, which does not
 * make a directory someone else's; R_NOT_FOUND if there is more; R_FAILED, reported.  `top`: it is
 * the store's own folder, else packs/. */
int store_is_vacant(const struct store *store, int dirfd, bool top);
/* Whether there are packs, which no interrupted creation of a store leaves. */
bool store_has_packs(const struct store *store);
/* Makes a store of an empty directory.  The mark file comes last: before it there is no store. */
int store_fill(struct store *store);

/* ---- check.c ---- */

/*
 * What is small is checked at every opening, before anything is written: a gc that sees too few
 * generations would throw away pages.  A store that is only read is read as far as it goes;
 * index_damage_seen() remembers.
 */
int store_check_index(struct store *store);
/* Looks at all of the index, unless the opening has.  R_OK or R_FAILED, reported. */
int store_walk_all(struct store *store);
/* A clean end: the next one need not look at everything again. */
void store_note_walked(struct store *store);

#endif
