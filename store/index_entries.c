/* Entries of the index: read, written, removed, and swept. */
#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/index_internal.h"
#include "store/page.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static int take_value(enum index_db db, const MDB_val *from, void *value, size_t size)
{
	if (from->mv_size != size) {
		warn("index: an entry of %s has %zu bytes in place of %zu", index_db_names[db],
		     from->mv_size, size);
		return index_damaged(index_db_names[db]);
	}
	memcpy(value, from->mv_data, size);
	return R_OK;
}

int index_get(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      void *value, size_t size)
{
	MDB_val k = { key_size, (void *)key }, v;
	int rc, result;

	index_enter(txn->index);
	rc = mdb_get(txn->txn, txn->index->dbi[db], &k, &v);
	if (rc == MDB_NOTFOUND)
		result = R_NOT_FOUND;
	else if (rc)
		result = index_failed(index_db_names[db], rc);
	else
		result = take_value(db, &v, value, size);
	index_leave(txn->index);
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
	rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (!floor)
		return rc;
	if (rc == MDB_NOTFOUND)
		return mdb_cursor_get(cursor, k, v, MDB_LAST);
	if (rc || (k->mv_size == key_size && memcmp(k->mv_data, key, key_size) == 0))
		return rc;
	return mdb_cursor_get(cursor, k, v, MDB_PREV);
}

int index_look(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	       bool floor, int (*fn)(const void *key, const void *value, size_t size, void *arg),
	       void *arg)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc, result;

	index_enter(txn->index);
	rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor);
	if (rc) {
		result = index_failed(index_db_names[db], rc);
		goto out;
	}
	rc = seek(cursor, key, key_size, floor, &k, &v);
	if (rc == MDB_NOTFOUND)
		result = R_NOT_FOUND;
	else if (rc || k.mv_size != key_size)
		result = index_failed(index_db_names[db], rc ? rc : MDB_CORRUPTED);
	else
		result = fn(k.mv_data, v.mv_data, v.mv_size, arg);
	mdb_cursor_close(cursor);
out:
	index_leave(txn->index);
	return result;
}

static void take_lowest(uintptr_t from, uintptr_t to, void *arg)
{
	uintptr_t *lowest = arg;

	(void)to;
	if (*lowest == 0)
		*lowest = from;
}

/* What a cursor gave, read from the file: nobody writes over what a read transaction sees.  An LMDB
 * code. */
static int read_beside(struct index *index, MDB_val *v, uint8_t room[PAGE_BYTES])
{
	uintptr_t at = atomic_load(&index->map_at);
	ssize_t got;
	int fd, rc;

	if (at == 0) {
		index_each_mapping(index, take_lowest, &at);
		atomic_store(&index->map_at, at);
	}
	if (at == 0)
		return 0; /* without /proc it is looked at where it is */
	if (v->mv_size > PAGE_BYTES || (uintptr_t)v->mv_data < at)
		return MDB_CORRUPTED;
	rc = mdb_env_get_fd(index->env, &fd);
	if (rc)
		return rc;
	got = pread(fd, room, v->mv_size, (off_t)((uintptr_t)v->mv_data - at));
	if (got < 0)
		return errno;
	v->mv_data = room;
	return (size_t)got == v->mv_size ? 0 : MDB_CORRUPTED;
}

int index_look_floors(struct index_txn *txn, enum index_db db, const void *keys, size_t key_size,
		      size_t n, bool beside,
		      int (*fn)(size_t i, const void *key, const void *value, size_t size,
				void *arg),
		      void *arg)
{
	uint8_t room[PAGE_BYTES];
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc, result = R_OK;

	index_enter(txn->index);
	rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor);
	if (rc) {
		result = index_failed(index_db_names[db], rc);
		goto out;
	}
	for (size_t i = 0; result == R_OK && i < n; i++) {
		rc = seek(cursor, (const uint8_t *)keys + i * key_size, key_size, true, &k, &v);
		if (rc == MDB_NOTFOUND)
			continue;
		if (!rc && beside)
			rc = read_beside(txn->index, &v, room);
		if (rc || k.mv_size != key_size)
			result = index_failed(index_db_names[db], rc ? rc : MDB_CORRUPTED);
		else
			result = fn(i, k.mv_data, v.mv_data, v.mv_size, arg);
	}
	mdb_cursor_close(cursor);
out:
	index_leave(txn->index);
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
	/* On damaged pages a search can end anywhere, and its caller would go round. */
	if (result == R_OK && (floor ? what.key > key : what.key < key))
		return index_failed(index_db_names[db], MDB_CORRUPTED);
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
	return index_failed(index_db_names[db], rc);
}

int index_put(struct index_txn *txn, enum index_db db, const void *key, size_t key_size,
	      const void *value, size_t size, bool replace)
{
	MDB_val k = { key_size, (void *)key }, v = { size, (void *)value }, new = v;
	int rc = 0;

	index_depth++;
	if (replace)
		rc = index_count_old(txn, db, &k);
	if (!rc)
		rc = mdb_put(txn->txn, txn->index->dbi[db], &k, &v, replace ? 0 : MDB_NOOVERWRITE);
	index_depth--;
	if (rc == MDB_KEYEXIST)
		return R_BUSY;
	if (!rc)
		index_count_entry(txn, db, &k, &new, 1);
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
	int rc;

	index_depth++;
	rc = index_count_old(txn, db, &k);
	if (!rc)
		rc = mdb_del(txn->txn, txn->index->dbi[db], &k, NULL);
	index_depth--;
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

	rc = mdb_cursor_get(cursor, k, &v, MDB_SET_RANGE);
	for (size_t i = 0; !rc && i < most; i++) {
		enum sweep what;

		if (k->mv_size != key_size)
			return index_failed(index_db_names[db], MDB_CORRUPTED);
		what = fn(k->mv_data, v.mv_data, v.mv_size, arg);
		if (what == SWEEP_STOP)
			return R_OK;
		if (what == SWEEP_DELETE) {
			index_count_entry(txn, db, k, &v, -1);
			rc = mdb_cursor_del(cursor, 0);
		}
		if (rc)
			return written(txn, db, rc);
		rc = mdb_cursor_get(cursor, k, &v, MDB_NEXT);
	}
	if (rc == MDB_NOTFOUND)
		return R_NOT_FOUND;
	return rc ? index_failed(index_db_names[db], rc) : R_OK;
}

int index_sweep(struct index_txn *txn, enum index_db db, void *key, size_t key_size, size_t most,
		enum sweep (*fn)(const void *key, const void *value, size_t size, void *arg),
		void *arg)
{
	MDB_val k = { key_size, key };
	MDB_cursor *cursor;
	int rc, result;

	index_enter(txn->index);
	rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor);
	if (rc) {
		result = index_failed(index_db_names[db], rc);
	} else {
		result = sweep_entries(txn, db, cursor, &k, most, fn, arg);
		/* A caller would go round on a key that does not move on. */
		if (result == R_OK &&
		    (k.mv_size != key_size || memcmp(k.mv_data, key, key_size) < 0))
			result = index_failed(index_db_names[db], MDB_CORRUPTED);
		if (result == R_OK)
			memmove(key, k.mv_data, key_size);
		mdb_cursor_close(cursor);
	}
	index_leave(txn->index);
	return result;
}

int index_meta_get(struct index_txn *txn, const char *name, uint64_t absent, uint64_t *value)
{
	unsigned char raw[8] = { 0 };
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

	index_enter(txn->index);
	rc = mdb_stat(txn->txn, txn->index->dbi[db], &stat);
	index_leave(txn->index);
	if (rc)
		return index_failed(index_db_names[db], rc);
	*count = stat.ms_entries;
	return R_OK;
}
