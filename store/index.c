#include "store/index.h"

#include "base/endian.h"
#include "base/fault.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAP_BYTES_MIN ((size_t)16 << 30)
#define READERS_MAX 1022

struct index {
	MDB_env *env;
	MDB_dbi dbi[DB_COUNT];
	/* Held shared around every use of the map, exclusively while the map is replaced. */
	pthread_rwlock_t map_lock;
};

struct index_txn {
	struct index *index;
	MDB_txn *txn;
	bool map_full; /* a write failed for want of room: grow and run again */
};

static const char *const db_names[DB_COUNT] = {
	[DB_META] = "meta",	  [DB_HASH] = "hash",		[DB_RUN] = "run",
	[DB_SEGMENT] = "segment", [DB_PACK] = "pack",		[DB_GENERATION] = "generation",
	[DB_LINEAGE] = "lineage", [DB_CONDEMNED] = "condemned", [DB_HOLE] = "hole",
};

static size_t map_bytes_wanted;

void index_set_map_bytes(size_t bytes)
{
	map_bytes_wanted = bytes;
}

static atomic_bool damage_seen;
static _Thread_local volatile bool in_lmdb;

/* The result of a call that reads or writes pages of the map. */
#define IN_LMDB(call) \
	({ \
		int rc_; \
		in_lmdb = true; \
		rc_ = (call); \
		in_lmdb = false; \
		rc_; \
	})

bool index_in_lmdb(void)
{
	return in_lmdb;
}

bool index_damage_seen(void)
{
	return damage_seen;
}

/* What LMDB says of a file it did not write like this. */
static bool tells_damage(int rc)
{
	return rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID ||
	       rc == MDB_INCOMPATIBLE || rc == MDB_BAD_VALSIZE;
}

static int damaged(const char *what, const char *how)
{
	damage_seen = true;
	warn("index: %s: %s: the index is damaged: put the folder index/ of a copy of this store "
	     "in its place, or begin a new store",
	     what, how);
	return R_FAILED;
}

static int failed(const char *what, int rc)
{
	if (tells_damage(rc))
		return damaged(what, mdb_strerror(rc));
	if (rc == ENOSPC)
		warn("index: %s: no space left on the device: free some and run the command again",
		     what);
	else if (rc == MDB_READERS_FULL)
		warn("index: %s: too many commands are reading this store: wait for some to end",
		     what);
	else
		warn("index: %s: %s", what, mdb_strerror(rc));
	return R_FAILED;
}

/* LMDB aborts when this returns; index_damage_seen() tells a handler of SIGABRT why. */
static void on_assertion(MDB_env *env, const char *text)
{
	(void)env;
	damaged("data.mdb", text);
}

static size_t map_bytes_at_open(const char *path)
{
	char data[4096];
	struct stat st;
	size_t bytes = MAP_BYTES_MIN;

	snprintf(data, sizeof(data), "%s/data.mdb", path);
	if (map_bytes_wanted)
		bytes = map_bytes_wanted;
	if (stat(data, &st) == 0 && (size_t)st.st_size > bytes / 4)
		bytes = (size_t)st.st_size * 4;
	return bytes;
}

static int open_databases(struct index *index, bool create, bool writable)
{
	MDB_txn *txn;
	int rc;

	rc = IN_LMDB(mdb_txn_begin(index->env, NULL, writable ? 0 : MDB_RDONLY, &txn));
	if (rc)
		return failed("begin", rc);
	for (int db = 0; db < DB_COUNT; db++) {
		rc = IN_LMDB(
		    mdb_dbi_open(txn, db_names[db], create ? MDB_CREATE : 0, &index->dbi[db]));
		if (rc) {
			mdb_txn_abort(txn);
			return rc == MDB_NOTFOUND ? damaged(db_names[db], "is not there")
						  : failed(db_names[db], rc);
		}
	}
	if (writable)
		fault_point("index commit");
	rc = IN_LMDB(mdb_txn_commit(txn));
	return rc ? failed("commit", rc) : R_OK;
}

static int open_env(struct index *index, const char *path, unsigned int flags)
{
	int rc;

	rc = mdb_env_create(&index->env);
	if (rc)
		return rc;
	mdb_env_set_assert(index->env, on_assertion);
	mdb_env_set_maxdbs(index->env, DB_COUNT);
	mdb_env_set_maxreaders(index->env, READERS_MAX);
	mdb_env_set_mapsize(index->env, map_bytes_at_open(path));
	rc = IN_LMDB(mdb_env_open(index->env, path, flags | MDB_NOTLS, 0600));
	if (rc)
		mdb_env_close(index->env);
	return rc;
}

static bool has_data(const char *path)
{
	char data[4096];
	struct stat st;

	snprintf(data, sizeof(data), "%s/data.mdb", path);
	return stat(data, &st) != 0 ? errno != ENOENT : st.st_size > 0;
}

int index_open(const char *path, bool create, bool writable, struct index **index)
{
	struct index *new = calloc(1, sizeof(*new));
	int dead, rc;

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	/* LMDB would make a new one. */
	if (!create && !has_data(path)) {
		damaged(path, "data.mdb is missing or empty");
		goto err0;
	}
	rc = open_env(new, path, writable ? 0 : MDB_RDONLY);
	if (!writable && (rc == EACCES || rc == EPERM))
		rc = open_env(new, path, MDB_RDONLY | MDB_NOLOCK);
	if (rc) {
		if (tells_damage(rc))
			damaged(path, mdb_strerror(rc));
		else
			warn("%s: cannot open the index: %s", path, mdb_strerror(rc));
		goto err0;
	}
	mdb_reader_check(new->env, &dead);
	pthread_rwlock_init(&new->map_lock, NULL);
	if (open_databases(new, create, writable) != R_OK)
		goto err1;
	*index = new;
	return R_OK;

err1:
	pthread_rwlock_destroy(&new->map_lock);
	mdb_env_close(new->env);
err0:
	free(new);
	return R_FAILED;
}

void index_close(struct index *index)
{
	if (!index)
		return;
	mdb_env_close(index->env);
	pthread_rwlock_destroy(&index->map_lock);
	free(index);
}

/*
 * Replaces the map by one of twice the size, or with `follow` by one of the size another process
 * has chosen.  LMDB asks that no transaction be active; in fact a read transaction holds only page
 * numbers and finds the map through its environment at each access, and the exclusive lock ensures
 * that no access is under way and no cursor exists.
 */
static int grow(struct index *index, bool follow)
{
	MDB_envinfo info;
	int rc;

	pthread_rwlock_wrlock(&index->map_lock);
	mdb_env_info(index->env, &info);
	rc = mdb_env_set_mapsize(index->env, follow ? 0 : info.me_mapsize * 2);
	pthread_rwlock_unlock(&index->map_lock);
	return rc ? failed("cannot grow its map", rc) : R_OK;
}

/* Begins with the map lock held shared on success; the caller lets go of it. */
static int begin(struct index *index, unsigned int flags, MDB_txn **txn)
{
	for (;;) {
		int rc;

		pthread_rwlock_rdlock(&index->map_lock);
		rc = IN_LMDB(mdb_txn_begin(index->env, NULL, flags, txn));
		if (!rc)
			return R_OK;
		pthread_rwlock_unlock(&index->map_lock);
		if (rc != MDB_MAP_RESIZED)
			return failed("begin", rc);
		if (grow(index, true) != R_OK)
			return R_FAILED;
	}
}

int index_read_begin(struct index *index, struct index_txn **txn)
{
	struct index_txn *new = calloc(1, sizeof(*new));

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	new->index = index;
	if (begin(index, MDB_RDONLY, &new->txn) != R_OK) {
		free(new);
		return R_FAILED;
	}
	pthread_rwlock_unlock(&index->map_lock);
	*txn = new;
	return R_OK;
}

void index_read_end(struct index_txn *txn)
{
	if (!txn)
		return;
	pthread_rwlock_rdlock(&txn->index->map_lock);
	mdb_txn_abort(txn->txn);
	pthread_rwlock_unlock(&txn->index->map_lock);
	free(txn);
}

int index_write(struct index *index, int (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	for (;;) {
		struct index_txn txn = { .index = index };
		int result, rc;

		if (begin(index, 0, &txn.txn) != R_OK)
			return R_FAILED;
		result = fn(&txn, arg);
		if (result == R_OK) {
			fault_point("index commit");
			rc = IN_LMDB(mdb_txn_commit(txn.txn));
			if (rc == MDB_MAP_FULL) {
				txn.map_full = true;
				result = R_FAILED;
			} else if (rc) {
				result = failed("commit", rc);
			}
		} else {
			mdb_txn_abort(txn.txn);
		}
		pthread_rwlock_unlock(&index->map_lock);
		if (!txn.map_full)
			return result;
		if (grow(index, false) != R_OK)
			return R_FAILED;
	}
}

uint64_t index_txn_id(const struct index_txn *txn)
{
	return mdb_txn_id(txn->txn);
}

/* One line of the reader table: pid, thread, transaction ("-" if it has none now). */
static int reader_line(const char *line, void *arg)
{
	uint64_t *oldest = arg;
	unsigned long txn;
	long pid;
	char thread[32];

	if (sscanf(line, "%ld %31s %lu", &pid, thread, &txn) == 3 && txn < *oldest)
		*oldest = txn;
	return 0;
}

int index_oldest_reader(struct index *index, uint64_t *txn_id)
{
	int dead, rc;

	*txn_id = UINT64_MAX;
	pthread_rwlock_rdlock(&index->map_lock);
	rc = mdb_reader_check(index->env, &dead);
	if (!rc && mdb_reader_list(index->env, reader_line, txn_id) < 0)
		rc = EIO;
	pthread_rwlock_unlock(&index->map_lock);
	return rc ? failed("cannot list its readers", rc) : R_OK;
}

static int take_value(enum index_db db, const MDB_val *from, void *value, size_t size)
{
	if (from->mv_size != size) {
		char how[64];

		snprintf(how, sizeof(how), "an entry has %zu bytes in place of %zu", from->mv_size,
			 size);
		return damaged(db_names[db], how);
	}
	memcpy(value, from->mv_data, size);
	return R_OK;
}

int index_get(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      void *value, size_t size)
{
	MDB_val k = { key_size, (void *)key }, v;
	int rc, result;

	pthread_rwlock_rdlock(&txn->index->map_lock);
	rc = IN_LMDB(mdb_get(txn->txn, txn->index->dbi[db], &k, &v));
	if (rc == MDB_NOTFOUND)
		result = R_NOT_FOUND;
	else if (rc)
		result = failed(db_names[db], rc);
	else
		result = take_value(db, &v, value, size);
	pthread_rwlock_unlock(&txn->index->map_lock);
	return result;
}

int index_get_u64(struct index_txn *txn, enum index_db db, uint64_t key, void *value, size_t size)
{
	unsigned char k[8];

	put_be64(k, key);
	return index_get(txn, db, k, sizeof(k), value, size);
}

/* Places a cursor at the least key not below, then for a floor steps back unless it is the key. */
static int seek(MDB_cursor *cursor, const void *key, size_t key_size, bool floor, MDB_val *k,
		MDB_val *v)
{
	int rc;

	k->mv_size = key_size;
	k->mv_data = (void *)key;
	rc = IN_LMDB(mdb_cursor_get(cursor, k, v, MDB_SET_RANGE));
	if (!floor)
		return rc;
	if (rc == MDB_NOTFOUND)
		return IN_LMDB(mdb_cursor_get(cursor, k, v, MDB_LAST));
	if (rc || (k->mv_size == key_size && memcmp(k->mv_data, key, key_size) == 0))
		return rc;
	return IN_LMDB(mdb_cursor_get(cursor, k, v, MDB_PREV));
}

int index_look(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	       bool floor, int (*fn)(const void *key, const void *value, size_t size, void *arg),
	       void *arg)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc, result;

	pthread_rwlock_rdlock(&txn->index->map_lock);
	rc = IN_LMDB(mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor));
	if (rc) {
		result = failed(db_names[db], rc);
		goto out;
	}
	rc = seek(cursor, key, key_size, floor, &k, &v);
	if (rc == MDB_NOTFOUND)
		result = R_NOT_FOUND;
	else if (rc || k.mv_size != key_size)
		result = failed(db_names[db], rc ? rc : MDB_CORRUPTED);
	else
		result = fn(k.mv_data, v.mv_data, v.mv_size, arg);
	mdb_cursor_close(cursor);
out:
	pthread_rwlock_unlock(&txn->index->map_lock);
	return result;
}

struct found_u64 {
	enum index_db db;
	uint64_t key;
	void *value;
	size_t size;
};

static int take_found(const void *key, const void *value, size_t size, void *arg)
{
	const MDB_val v = { size, (void *)value };
	struct found_u64 *found = arg;

	found->key = get_be64(key);
	return take_value(found->db, &v, found->value, found->size);
}

static int find(struct index_txn *txn, enum index_db db, uint64_t key, bool floor, uint64_t *found,
		void *value, size_t size)
{
	struct found_u64 what = { .db = db, .value = value, .size = size };
	unsigned char wanted[8];
	int result;

	put_be64(wanted, key);
	result = index_look(txn, db, wanted, sizeof(wanted), floor, take_found, &what);
	if (result == R_OK)
		*found = what.key;
	return result;
}

int index_floor(struct index_txn *txn, enum index_db db, uint64_t key, uint64_t *found, void *value,
		size_t size)
{
	return find(txn, db, key, true, found, value, size);
}

int index_ceiling(struct index_txn *txn, enum index_db db, uint64_t key, uint64_t *found,
		  void *value, size_t size)
{
	return find(txn, db, key, false, found, value, size);
}

static int written(struct index_txn *txn, enum index_db db, int rc)
{
	if (!rc)
		return R_OK;
	if (rc == MDB_MAP_FULL) {
		txn->map_full = true;
		return R_FAILED;
	}
	return failed(db_names[db], rc);
}

int index_put(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      const void *value, size_t size, bool replace)
{
	MDB_val k = { key_size, (void *)key }, v = { size, (void *)value };
	int rc =
	    IN_LMDB(mdb_put(txn->txn, txn->index->dbi[db], &k, &v, replace ? 0 : MDB_NOOVERWRITE));

	if (rc == MDB_KEYEXIST)
		return R_BUSY;
	return written(txn, db, rc);
}

int index_put_u64(struct index_txn *txn, enum index_db db, uint64_t key, const void *value,
		  size_t size)
{
	unsigned char k[8];

	put_be64(k, key);
	return index_put(txn, db, k, sizeof(k), value, size, true);
}

int index_del(struct index_txn *txn, enum index_db db, const void *key, size_t key_size)
{
	MDB_val k = { key_size, (void *)key };
	int rc = IN_LMDB(mdb_del(txn->txn, txn->index->dbi[db], &k, NULL));

	if (rc == MDB_NOTFOUND)
		return R_NOT_FOUND;
	return written(txn, db, rc);
}

int index_del_u64(struct index_txn *txn, enum index_db db, uint64_t key)
{
	unsigned char k[8];

	put_be64(k, key);
	return index_del(txn, db, k, sizeof(k));
}

static int
sweep_entries(struct index_txn *txn, enum index_db db, MDB_cursor *cursor, MDB_val *k, size_t most,
	      enum sweep (*fn)(const void *key, const void *value, size_t size, void *arg),
	      void *arg)
{
	size_t key_size = k->mv_size;
	MDB_val v;
	int rc;

	rc = IN_LMDB(mdb_cursor_get(cursor, k, &v, MDB_SET_RANGE));
	for (size_t i = 0; !rc && i < most; i++) {
		enum sweep what;

		if (k->mv_size != key_size)
			return failed(db_names[db], MDB_CORRUPTED);
		what = fn(k->mv_data, v.mv_data, v.mv_size, arg);
		if (what == SWEEP_STOP)
			return R_OK;
		if (what == SWEEP_DELETE)
			rc = IN_LMDB(mdb_cursor_del(cursor, 0));
		if (rc)
			return written(txn, db, rc);
		rc = IN_LMDB(mdb_cursor_get(cursor, k, &v, MDB_NEXT));
	}
	if (rc == MDB_NOTFOUND)
		return R_NOT_FOUND;
	return rc ? failed(db_names[db], rc) : R_OK;
}

int index_sweep(struct index_txn *txn, enum index_db db, void *key, size_t key_size, size_t most,
		enum sweep (*fn)(const void *key, const void *value, size_t size, void *arg),
		void *arg)
{
	MDB_val k = { key_size, key };
	MDB_cursor *cursor;
	int rc, result;

	pthread_rwlock_rdlock(&txn->index->map_lock);
	rc = IN_LMDB(mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor));
	if (rc) {
		result = failed(db_names[db], rc);
	} else {
		result = sweep_entries(txn, db, cursor, &k, most, fn, arg);
		if (result == R_OK && k.mv_size == key_size)
			memmove(key, k.mv_data, key_size);
		mdb_cursor_close(cursor);
	}
	pthread_rwlock_unlock(&txn->index->map_lock);
	return result;
}

int index_meta_get(struct index_txn *txn, const char *name, uint64_t absent, uint64_t *value)
{
	unsigned char raw[8];
	int result = index_get(txn, DB_META, name, strlen(name), raw, sizeof(raw));

	if (result == R_NOT_FOUND) {
		*value = absent;
		return R_OK;
	}
	if (result == R_OK)
		*value = get_le64(raw);
	return result;
}

int index_meta_put(struct index_txn *txn, const char *name, uint64_t value)
{
	unsigned char raw[8];

	put_le64(raw, value);
	return index_put(txn, DB_META, name, strlen(name), raw, sizeof(raw), true);
}

int index_count(struct index_txn *txn, enum index_db db, uint64_t *count)
{
	MDB_stat stat;
	int rc;

	pthread_rwlock_rdlock(&txn->index->map_lock);
	rc = IN_LMDB(mdb_stat(txn->txn, txn->index->dbi[db], &stat));
	pthread_rwlock_unlock(&txn->index->map_lock);
	if (rc)
		return failed(db_names[db], rc);
	*count = stat.ms_entries;
	return R_OK;
}

/* Every entry of one database, in order; what cannot be read or is counted wrong is damage. */
static int check_database(MDB_txn *txn, MDB_dbi dbi, const char *name)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	MDB_stat stat;
	size_t entries = 0;
	int rc = IN_LMDB(mdb_stat(txn, dbi, &stat));

	if (!rc)
		rc = IN_LMDB(mdb_cursor_open(txn, dbi, &cursor));
	if (rc)
		return failed(name, rc);
	while ((rc = IN_LMDB(mdb_cursor_get(cursor, &k, &v, MDB_NEXT))) == 0)
		entries++;
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND)
		return failed(name, rc);
	if (entries != stat.ms_entries)
		return damaged(name, "not all of its entries are there");
	return R_OK;
}

int index_check(struct index_txn *txn)
{
	int result;

	pthread_rwlock_rdlock(&txn->index->map_lock);
	result = check_database(txn->txn, 0, "free pages"); /* LMDB's own, which has no name */
	for (int db = 0; result == R_OK && db < DB_COUNT; db++)
		result = check_database(txn->txn, txn->index->dbi[db], db_names[db]);
	pthread_rwlock_unlock(&txn->index->map_lock);
	return result;
}
