/* What of the index is looked at before it is believed. */
#include "base/result.h"
#include "store/store_internal.h"
#include "store/walked.h"

#include <time.h>

static int check_tables(struct store *store, const enum index_db *dbs, size_t n)
{
	struct index_txn *txn;
	int result = R_OK, once;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < n; i++)
		if ((once = index_check(txn, dbs[i])) != R_OK)
			result = once;
	index_read_end(txn);
	return result;
}

/* The last transaction that is in the index. */
static int last_txn(struct store *store, uint64_t *txn_id)
{
	struct index_txn *txn;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	*txn_id = index_txn_id(txn);
	index_read_end(txn);
	return R_OK;
}

int store_walk_all(struct store *store)
{
	static const enum index_db segments[] = { DB_SEGMENT };

	if (store->walked_all)
		return R_OK;
	if (index_walk(store->index, true) != R_OK || check_tables(store, segments, 1) != R_OK)
		return R_FAILED;
	store->walked_all = true;
	store->walked_s = (int64_t)time(NULL);
	return R_OK;
}

/*
 * What a writer looks at before it writes: all of the index, unless the command before ended as it
 * should, left the index as it is now, and knew that all of it had been looked at not long ago.
 * Then the tables that grow with the number of pages are left out: what takes read there is checked
 * against the packs, and takes destroy nothing.  A gc looks at the rest (store_walk_all()).
 */
static int walk_to_write(struct store *store)
{
	struct walked walked;
	uint64_t txn;

	if (last_txn(store, &txn) != R_OK)
		return R_FAILED;
	if (!walked_read(store, &walked) || walked.txn != txn)
		return store_walk_all(store);
	store->walked_s = walked.time_s;
	store->walked_txn = walked.txn;
	return index_walk(store->index, false);
}

void store_note_walked(struct store *store)
{
	struct walked walked = { .time_s = store->walked_s };

	if (!store->writable || !store->walked_s || last_txn(store, &walked.txn) != R_OK)
		return;
	if (store->walked_all || walked.txn != store->walked_txn)
		walked_write(store, &walked);
}

int store_check_index(struct store *store)
{
	static const enum index_db small[] = { DB_META, DB_GENERATION, DB_LINEAGE };
	static const enum index_db more[] = { DB_PACK, DB_CONDEMNED, DB_HOLE };
	int result;

	if (store->writable && walk_to_write(store) != R_OK)
		return R_FAILED;
	result = check_tables(store, small, sizeof(small) / sizeof(small[0]));
	if (store->writable && result == R_OK)
		result = check_tables(store, more, sizeof(more) / sizeof(more[0]));
	if (result == R_DAMAGED && !store->writable)
		return R_OK;
	return result == R_OK ? R_OK : R_FAILED;
}
