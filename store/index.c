#include "store/index_internal.h"

#include "base/endian.h"
#include "base/fault.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

#define MAP_BYTES_MIN ((size_t)16 << 30)
#define READERS_MAX 1022
/* Who sums up a table holds so much of it at once. */
#define LET_GO_BYTES ((size_t)16 << 20)

const char *const index_db_names[DB_COUNT] = {
	[DB_META] = "meta",	  [DB_HASH] = "hash",		[DB_RUN] = "run",
	[DB_SEGMENT] = "segment", [DB_PACK] = "pack",		[DB_GENERATION] = "generation",
	[DB_LINEAGE] = "lineage", [DB_CONDEMNED] = "condemned", [DB_HOLE] = "hole",
};

#define SUM_PREFIX "sum." /* keys of meta that are not part of its own sum */
#define SUM_KEY_MAX 24

static size_t map_bytes_wanted;
static atomic_bool damage_seen;
_Thread_local volatile int index_depth; /* LMDB, which follows what it reads without checks */

bool index_damage_seen(void)
{
	return atomic_load(&damage_seen);
}

bool index_in_lmdb(void)
{
	return index_depth > 0;
}

int index_damaged(const char *what)
{
	atomic_store(&damage_seen, true);
	warn("index: %s: it is damaged: run snap verify --repair", what);
	return R_FAILED;
}

/* LMDB's words for contents that cannot be. */
static bool means_damage(int rc)
{
	return rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID ||
	       rc == MDB_VERSION_MISMATCH || rc == MDB_CURSOR_FULL || rc == MDB_PAGE_FULL ||
	       rc == MDB_INCOMPATIBLE;
}

void index_set_map_bytes(size_t bytes)
{
	map_bytes_wanted = bytes;
}

int index_failed(const char *what, int rc)
{
	if (rc == ENOSPC)
		warn("index: %s: no space left on the device: free some and run the command again",
		     what);
	else if (rc == MDB_READERS_FULL)
		warn("index: %s: too many commands are reading this store: wait for some to end",
		     what);
	else
		warn("index: %s: %s", what, mdb_strerror(rc));
	if (means_damage(rc))
		return index_damaged(what);
	return R_FAILED;
}

void index_enter(struct index *index)
{
	pthread_rwlock_rdlock(&index->map_lock);
	index_depth++;
}

void index_leave(struct index *index)
{
	index_depth--;
	pthread_rwlock_unlock(&index->map_lock);
}

static uint64_t entry_sum(const void *key, size_t key_size, const void *value, size_t size)
{
	return XXH3_64bits_withSeed(value, size, XXH3_64bits(key, key_size));
}

static bool is_sum(enum index_db db, const void *key, size_t key_size)
{
	return db == DB_META && key_size > strlen(SUM_PREFIX) &&
	       memcmp(key, SUM_PREFIX, strlen(SUM_PREFIX)) == 0;
}

/* Notes that an entry comes (sign 1) or goes (-1). */
void index_count_entry(struct index_txn *txn, enum index_db db, const MDB_val *k, const MDB_val *v,
		       int sign)
{
	uint64_t sum;

	if (is_sum(db, k->mv_data, k->mv_size))
		return;
	sum = entry_sum(k->mv_data, k->mv_size, v->mv_data, v->mv_size);
	txn->sums[db] += sign > 0 ? sum : -sum;
	txn->changed[db] = true;
}

int index_count_old(struct index_txn *txn, enum index_db db, MDB_val *k)
{
	MDB_val v;
	int rc = mdb_get(txn->txn, txn->index->dbi[db], k, &v);

	if (!rc)
		index_count_entry(txn, db, k, &v, -1);
	return rc == MDB_NOTFOUND ? 0 : rc;
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

void index_each_mapping(struct index *index, void (*fn)(uintptr_t from, uintptr_t to, void *arg),
			void *arg)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to, inode;
	char line[512];
	struct stat st;
	int fd;

	if (maps && mdb_env_get_fd(index->env, &fd) == 0 && fstat(fd, &st) == 0)
		while (fgets(line, sizeof(line), maps))
			if (sscanf(line, "%lx-%lx r--s %*s %*s %lu", &from, &to, &inode) == 3 &&
			    inode == st.st_ino)
				fn(from, to, arg);
	if (maps)
		fclose(maps);
}

static void let_go(uintptr_t from, uintptr_t to, void *arg)
{
	(void)arg;
	madvise((void *)from, to - from, MADV_DONTNEED);
}

/* The map is shared and only read through (changes of a transaction are elsewhere), so nothing is
 * lost. */
void index_let_go(struct index_txn *txn)
{
	index_enter(txn->index);
	index_each_mapping(txn->index, let_go, NULL);
	index_leave(txn->index);
}

/* The sum of a database as it is.  R_DAMAGED if its entries are not in order or not as many as it
 * says; reported. */
static int sum_entries(struct index *index, MDB_txn *txn, enum index_db db, uint64_t *sum)
{
	MDB_dbi dbi = index->dbi[db];
	size_t seen = 0, bytes = 0;
	MDB_cursor *cursor;
	MDB_stat stat;
	MDB_val k, v;
	int rc;

	*sum = 0;
	rc = mdb_stat(txn, dbi, &stat);
	if (!rc)
		rc = mdb_cursor_open(txn, dbi, &cursor);
	if (rc)
		return index_failed(index_db_names[db], rc);
	rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	for (; !rc && seen <= stat.ms_entries; seen++) {
		if (!is_sum(db, k.mv_data, k.mv_size))
			*sum += entry_sum(k.mv_data, k.mv_size, v.mv_data, v.mv_size);
		bytes += k.mv_size + v.mv_size;
		if (bytes > LET_GO_BYTES) {
			index_each_mapping(index, let_go, NULL);
			bytes = 0;
		}
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc && rc != MDB_NOTFOUND)
		return index_failed(index_db_names[db], rc);
	return rc == MDB_NOTFOUND && seen == stat.ms_entries ? R_OK : R_DAMAGED;
}

static void sum_key(enum index_db db, char text[SUM_KEY_MAX], MDB_val *k)
{
	k->mv_size = (size_t)snprintf(text, SUM_KEY_MAX, SUM_PREFIX "%s", index_db_names[db]);
	k->mv_data = text;
}

static int put_sum(MDB_txn *txn, MDB_dbi meta, enum index_db db, uint64_t sum)
{
	uint8_t raw[8];
	MDB_val k, v = { sizeof(raw), raw };
	char text[SUM_KEY_MAX];

	put_le64(raw, sum);
	sum_key(db, text, &k);
	return mdb_put(txn, meta, &k, &v, 0);
}

/* An LMDB code. */
static int get_sum(MDB_txn *txn, MDB_dbi meta, enum index_db db, uint64_t *sum)
{
	char text[SUM_KEY_MAX];
	MDB_val k, v;
	int rc;

	sum_key(db, text, &k);
	rc = mdb_get(txn, meta, &k, &v);
	if (rc || v.mv_size != 8)
		return rc ? rc : MDB_CORRUPTED;
	*sum = get_le64(v.mv_data);
	return 0;
}

static int open_databases(struct index *index, bool create, bool writable)
{
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(index->env, NULL, writable ? 0 : MDB_RDONLY, &txn);
	if (rc)
		return index_failed("begin", rc);
	for (int db = 0; db < DB_COUNT; db++) {
		rc =
		    mdb_dbi_open(txn, index_db_names[db], create ? MDB_CREATE : 0, &index->dbi[db]);
		/* A new one is empty, and so is its sum. */
		if (!rc && create)
			rc = put_sum(txn, index->dbi[DB_META], db, 0);
		if (rc) {
			mdb_txn_abort(txn);
			return rc == MDB_NOTFOUND ? index_damaged(index_db_names[db])
						  : index_failed(index_db_names[db], rc);
		}
	}
	if (writable)
		fault_point("index commit");
	rc = mdb_txn_commit(txn);
	return rc ? index_failed("commit", rc) : R_OK;
}

int index_check(struct index_txn *txn, enum index_db db)
{
	uint64_t sum, expected;
	int rc, result;

	index_enter(txn->index);
	result = sum_entries(txn->index, txn->txn, db, &sum);
	if (result == R_OK) {
		rc = get_sum(txn->txn, txn->index->dbi[DB_META], db, &expected);
		if (rc == MDB_NOTFOUND || (!rc && sum != expected))
			result = R_DAMAGED;
		else if (rc)
			result = index_failed(index_db_names[db], rc);
	}
	index_leave(txn->index);
	if (result == R_DAMAGED)
		index_damaged(index_db_names[db]);
	return result;
}

/* LMDB aborts when this returns; index_damage_seen() tells a handler of SIGABRT why. */
static void on_assertion(MDB_env *env, const char *text)
{
	(void)env;
	index_damaged(text);
}

static int open_env(struct index *index, const char *path, unsigned int flags)
{
	int rc;

	rc = mdb_env_create(&index->env);
	if (rc)
		return rc;
	index_depth++;
	mdb_env_set_assert(index->env, on_assertion);
	mdb_env_set_maxdbs(index->env, DB_COUNT);
	mdb_env_set_maxreaders(index->env, READERS_MAX);
	mdb_env_set_mapsize(index->env, map_bytes_at_open(path));
	rc = mdb_env_open(index->env, path, flags | MDB_NOTLS, 0600);
	if (rc)
		mdb_env_close(index->env);
	index_depth--;
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
		index_damaged("data.mdb is missing or empty");
		goto err0;
	}
	rc = open_env(new, path, writable ? 0 : MDB_RDONLY);
	if (!writable && (rc == EACCES || rc == EPERM))
		rc = open_env(new, path, MDB_RDONLY | MDB_NOLOCK);
	if (rc) {
		warn("%s: cannot open the index: %s", path, mdb_strerror(rc));
		if (means_damage(rc) || rc == ENOENT)
			index_damaged(path);
		goto err0;
	}
	mdb_reader_check(new->env, &dead);
	pthread_rwlock_init(&new->map_lock, NULL);
	index_depth++;
	rc = open_databases(new, create, writable);
	index_depth--;
	if (rc != R_OK)
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
	atomic_store(&index->map_at, 0);
	pthread_rwlock_unlock(&index->map_lock);
	return rc ? index_failed("cannot grow its map", rc) : R_OK;
}

/* Begins with the map lock held shared on success; the caller lets go of it. */
static int begin(struct index *index, unsigned int flags, MDB_txn **txn)
{
	for (;;) {
		int rc;

		pthread_rwlock_rdlock(&index->map_lock);
		index_depth++;
		rc = mdb_txn_begin(index->env, NULL, flags, txn);
		index_depth--;
		if (!rc)
			return R_OK;
		pthread_rwlock_unlock(&index->map_lock);
		if (rc != MDB_MAP_RESIZED)
			return index_failed("begin", rc);
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
	index_enter(txn->index);
	mdb_txn_abort(txn->txn);
	index_leave(txn->index);
	free(txn);
}

/* Brings the sums up to date and commits.  An LMDB code. */
static int commit(struct index_txn *txn)
{
	MDB_dbi meta = txn->index->dbi[DB_META];
	uint64_t sum;
	int rc = 0;

	index_depth++;
	for (int db = 0; !rc && db < DB_COUNT; db++) {
		if (!txn->changed[db])
			continue;
		rc = get_sum(txn->txn, meta, db, &sum);
		if (!rc)
			rc = put_sum(txn->txn, meta, db, sum + txn->sums[db]);
	}
	fault_point("index commit");
	if (rc)
		mdb_txn_abort(txn->txn);
	else
		rc = mdb_txn_commit(txn->txn);
	index_depth--;
	return rc;
}

static int write_with(struct index *index, unsigned int flags,
		      int (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	for (;;) {
		struct index_txn txn = { .index = index };
		int result, rc;

		if (begin(index, flags, &txn.txn) != R_OK)
			return R_FAILED;
		result = fn(&txn, arg);
		if (result == R_OK) {
			rc = commit(&txn);
			if (rc == MDB_MAP_FULL) {
				txn.map_full = true;
				result = R_FAILED;
			} else if (rc) {
				result = index_failed("commit", rc);
			}
		} else {
			mdb_txn_abort(txn.txn);
		}
		pthread_rwlock_unlock(&index->map_lock);
		if (result == R_OK && index->changed && txn.changed[DB_GENERATION])
			index->changed(index->changed_arg);
		if (!txn.map_full)
			return result;
		if (grow(index, false) != R_OK)
			return R_FAILED;
	}
}

int index_write(struct index *index, int (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	return write_with(index, 0, fn, arg);
}

/*
 * LMDB syncs the pages before it writes the page that refers to them, so what a power loss finds is
 * this state or the one before; and the next transaction, which syncs this reference with its own
 * pages, writes over no page of either.
 */
int index_write_soon(struct index *index, int (*fn)(struct index_txn *txn, void *arg), void *arg)
{
	return write_with(index, MDB_NOMETASYNC, fn, arg);
}

void index_on_change(struct index *index, void (*fn)(void *arg), void *arg)
{
	index->changed = fn;
	index->changed_arg = arg;
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
	index_enter(index);
	rc = mdb_reader_check(index->env, &dead);
	if (!rc && mdb_reader_list(index->env, reader_line, txn_id) < 0)
		rc = EIO;
	index_leave(index);
	return rc ? index_failed("cannot list its readers", rc) : R_OK;
}
