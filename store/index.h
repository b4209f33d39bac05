/*
 * The index: small keys and values in one LMDB environment.  This module is the only one that knows
 * LMDB.  Values are copied in and out; no pointer into the map and no cursor outlives a call, which
 * is what lets the map grow while read transactions are open.
 */
#ifndef SNAP_STORE_INDEX_H
#define SNAP_STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index;
struct index_txn;

enum index_db {
	DB_META,
	DB_HASH,
	DB_RUN,
	DB_SEGMENT,
	DB_PACK,
	DB_GENERATION,
	DB_LINEAGE,
	DB_CONDEMNED,
	DB_HOLE,
	DB_COUNT,
};

/*
 * Opens the environment in directory `path`, making it (0600) with `create`.  A read-only one falls
 * back to no locks at all where the directory cannot be written: nothing collects such a store.
 * Clears readers that died.  R_OK or R_FAILED.
 */
int index_open(const char *path, bool create, bool writable, struct index **index);
void index_close(struct index *index);

/*
 * LMDB does not know when its file is damaged.  So `meta` holds for each database the sum of a hash
 * of all its entries, kept up to date by every write; what does not sum up is damaged.  R_OK,
 * R_DAMAGED, R_FAILED; the last two reported.
 */
int index_check(struct index_txn *txn, enum index_db db);

/*
 * Looks at every page of the file that its newest state uses or has as free: whether LMDB can
 * go by what they say.  It cannot tell for itself, and may crash, or write over pages in use.
 * Without `all`, the tables that grow with the number of pages (index_is_large()) are left out.
 * R_OK, R_DAMAGED, R_FAILED; the last two reported.
 */
int index_walk(struct index *index, bool all);
bool index_is_large(enum index_db db);

/* Reports `what` as damaged, and remembers it; R_FAILED. */
int index_damaged(const char *what);

/* Whether any index of this process was ever found damaged. */
bool index_damage_seen(void);

/* Whether this thread is within LMDB just now, which a damaged file may make crash.  For signal
 * handlers. */
bool index_in_lmdb(void);

/* Has `fn` called after every commit of this process that changed a generation. */
void index_on_change(struct index *index, void (*fn)(void *arg), void *arg);

/* For tests: the map size the next index_open() starts with; 0 is the default of FORMAT.md. */
void index_set_map_bytes(size_t bytes);

/* A read transaction: the index as it is now.  Any number per thread. */
int index_read_begin(struct index *index, struct index_txn **txn);
void index_read_end(struct index_txn *txn);

/*
 * Runs `fn` in a write transaction and commits if it gives R_OK.  If the map is full it is grown
 * and `fn` runs again in a new transaction, so it must not change anything else.  Blocks while
 * another writer of any process is at work.  R_OK, what `fn` gave, or R_FAILED.
 */
int index_write(struct index *index, int (*fn)(struct index_txn *txn, void *arg), void *arg);

/* The same without waiting for the disk at the end: a power loss may undo it, as long as nothing
 * else was written. */
int index_write_soon(struct index *index, int (*fn)(struct index_txn *txn, void *arg), void *arg);

/* Number of a transaction; of a read one, that of the last commit it sees. */
uint64_t index_txn_id(const struct index_txn *txn);

/* Lowest transaction number an open reader of any process sees; UINT64_MAX without readers.  Clears
 * readers that died first. */
int index_oldest_reader(struct index *index, uint64_t *txn_id);

/* Looks up a value of exactly `size` bytes.  R_OK, R_NOT_FOUND, R_FAILED (also for another size).
 */
int index_get(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      void *value, size_t size);

/* The same for keys that are numbers: the entry itself, the greatest one not above `key`, the least
 * one not below it.  */
int index_get_u64(struct index_txn *txn, enum index_db db, uint64_t key, void *value, size_t size);
int index_floor(struct index_txn *txn, enum index_db db, uint64_t key, uint64_t *found, void *value,
		size_t size);
int index_ceiling(struct index_txn *txn, enum index_db db, uint64_t key, uint64_t *found,
		  void *value, size_t size);

/* Sets an entry; R_BUSY if it exists and `replace` is false. */
int index_put(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      const void *value, size_t size, bool replace);
int index_put_u64(struct index_txn *txn, enum index_db db, uint64_t key, const void *value,
		  size_t size);

/* Removes an entry.  R_OK, R_NOT_FOUND or R_FAILED. */
int index_del(struct index_txn *txn, enum index_db db, const void *key, size_t key_size);
int index_del_u64(struct index_txn *txn, enum index_db db, uint64_t key);

/* Shows `fn` the entry with the greatest key not above `key` (`floor`), or the least one not below,
 * in the map itself: it must copy what it wants and call nothing here.  What `fn` gave, R_NOT_FOUND
 * (`fn` was not called), R_FAILED. */
int index_look(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	       bool floor, int (*fn)(const void *key, const void *value, size_t size, void *arg),
	       void *arg);

/* The same for `n` keys, one behind the other at `keys`, and the entry with the greatest key not
 * above each; `i` tells whose it is.  Passes over those that have none.  With `beside`, in a read
 * transaction, values (of a page at most) are not looked at in the map but read from the file,
 * which takes longer than looking at what is mapped, but leaves nothing mapped.  R_OK, or what `fn`
 * gave if that was not R_OK, which ends it; R_FAILED. */
int index_look_floors(struct index_txn *txn, enum index_db db, const void *keys, size_t key_size,
		      size_t n, bool beside,
		      int (*fn)(size_t i, const void *key, const void *value, size_t size,
				void *arg),
		      void *arg);

/*
 * Shows `fn` up to `most` entries in order of key, from `key` (`key_size` bytes) on, and deletes
 * those it says (in a write transaction).  `key` becomes the first one not dealt with: the one `fn`
 * stopped at, or the one behind the last.  R_OK; R_NOT_FOUND once there are no more; R_FAILED.
 */
enum sweep { SWEEP_KEEP, SWEEP_DELETE, SWEEP_STOP };
int index_sweep(struct index_txn *txn, enum index_db db, void *key, size_t key_size, size_t most,
		enum sweep (*fn)(const void *key, const void *value, size_t size, void *arg),
		void *arg);

/* Lets go of what this process has looked at in the map, which stays in the page cache: for those
 * who go through more of the index than a command is to hold in memory. */
void index_let_go(struct index_txn *txn);

/* Numbers of `meta`; absent ones read as `absent`. */
int index_meta_get(struct index_txn *txn, const char *name, uint64_t absent, uint64_t *value);
int index_meta_put(struct index_txn *txn, const char *name, uint64_t value);

/* Entries of a database. */
int index_count(struct index_txn *txn, enum index_db db, uint64_t *count);

#endif
