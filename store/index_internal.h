/* What the files of the index module share; they alone include LMDB. */
#ifndef SNAP_STORE_INDEX_INTERNAL_H
#define SNAP_STORE_INDEX_INTERNAL_H

#include "store/index.h"

#include <lmdb.h>
#include <pthread.h>

struct index {
	MDB_env *env;
	void (*changed)(void *arg); /* told of commits that changed generations */
	void *changed_arg;
	MDB_dbi dbi[DB_COUNT];
	/* Held shared around every use of the map, exclusively while the map is replaced. */
	pthread_rwlock_t map_lock;
	/* Where the map begins, which LMDB does not tell; 0: not looked up yet. */
	_Atomic uintptr_t map_at;
};

struct index_txn {
	struct index *index;
	MDB_txn *txn;
	bool map_full; /* a write failed for want of room: grow and run again */
	/* What a write adds to the sums of the databases; see index_check(). */
	uint64_t sums[DB_COUNT];
	bool changed[DB_COUNT];
};

extern const char *const index_db_names[DB_COUNT];

/* Shows `fn` each stretch of addresses at which the index file is mapped, in ascending order.  The
 * map lock is held. */
void index_each_mapping(struct index *index, void (*fn)(uintptr_t from, uintptr_t to, void *arg),
			void *arg);

/* Reports an LMDB code (or errno) and remembers damage; R_FAILED. */
int index_failed(const char *what, int rc);

/* Around every use of the map and of LMDB; index_in_lmdb() tells of it.  A write transaction holds
 * the map lock as a whole, so it only tells that it is inside. */
void index_enter(struct index *index);
void index_leave(struct index *index);
extern _Thread_local volatile int index_depth;

/* For the sums: an entry comes (sign 1) or goes (-1); the entry with this key, if any, goes (an
 * LMDB code). */
void index_count_entry(struct index_txn *txn, enum index_db db, const MDB_val *k, const MDB_val *v,
		       int sign);
int index_count_old(struct index_txn *txn, enum index_db db, MDB_val *k);

#endif
