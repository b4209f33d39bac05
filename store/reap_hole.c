#include "store/reap_hole.h"

#include "base/endian.h"
#include "base/fault.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"
#include "store/store_reap.h"

#include <stdlib.h>
#include <string.h>

/* Holes gathered before they are punched and struck out by one transaction. */
#define GATHER_MAX 16384
/* Entries one call of index_sweep() goes through under the lock of the map. */
#define SWEEP_ENTRIES 65536

static void make_key(uint8_t key[HOLE_KEY_BYTES], uint64_t pack, uint64_t offset)
{
	put_be64(key, pack);
	put_be64(key + 8, offset);
}

int hole_put(struct index_txn *txn, uint64_t pack, uint64_t offset, uint64_t bytes,
	     uint64_t hole_txn)
{
	const struct hole_record record = { hole_txn, bytes };
	uint8_t key[HOLE_KEY_BYTES], raw[HOLE_RECORD_BYTES];

	make_key(key, pack, offset);
	hole_record_encode(&record, raw);
	return index_put(txn, DB_HOLE, key, sizeof(key), raw, sizeof(raw), true);
}

static enum sweep sweep_pack(const void *key, const void *value, size_t size, void *arg)
{
	const uint64_t *pack = arg;

	(void)value;
	(void)size;
	return get_be64(key) == *pack ? SWEEP_DELETE : SWEEP_STOP;
}

int pack_release(struct index_txn *txn, uint64_t pack)
{
	uint8_t raw[PACK_RECORD_BYTES], key[HOLE_KEY_BYTES];
	struct pack_record record;
	int result;

	if (index_get_u64(txn, DB_PACK, pack, raw, sizeof(raw)) != R_OK)
		return R_FAILED;
	pack_record_decode(raw, &record);
	if (--record.segments > 0) {
		pack_record_encode(&record, raw);
		return index_put_u64(txn, DB_PACK, pack, raw, sizeof(raw));
	}
	if (index_del_u64(txn, DB_PACK, pack) != R_OK)
		return R_FAILED;
	make_key(key, pack, 0);
	result = index_sweep(txn, DB_HOLE, key, sizeof(key), SIZE_MAX, sweep_pack, &pack);
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* What one pass over the holes finds. */
struct gathered {
	uint64_t oldest;
	bool waiting; /* gather those that wait, and may stop to; else the free ones */
	uint64_t pending;
	struct hole {
		uint64_t pack, offset, bytes;
	} list[GATHER_MAX];
	size_t n;
};

static enum sweep gather_hole(const void *key, const void *value, size_t size, void *arg)
{
	struct gathered *gathered = arg;
	const uint8_t *at = key;
	struct hole_record record;

	if (size != HOLE_RECORD_BYTES)
		return SWEEP_KEEP;
	hole_record_decode(value, &record);
	if ((record.txn != HOLE_FREE) != gathered->waiting)
		return SWEEP_KEEP;
	if (gathered->waiting && record.txn > gathered->oldest) {
		gathered->pending += record.bytes;
		return SWEEP_KEEP;
	}
	if (gathered->n == GATHER_MAX)
		return SWEEP_STOP;
	gathered->list[gathered->n++] =
	    (struct hole){ get_be64(at), get_be64(at + 8), record.bytes };
	return SWEEP_KEEP;
}

int reap_holes(struct reap *reap, uint64_t oldest, uint8_t key[HOLE_KEY_BYTES], size_t most,
	       uint64_t *pending)
{
	struct gathered *gathered = calloc(1, sizeof(*gathered));
	struct index_txn *txn = reap_view(reap)->txn;
	int result;

	if (!gathered) {
		warn("out of memory");
		return R_FAILED;
	}
	gathered->oldest = oldest;
	gathered->waiting = true;
	result = index_sweep(txn, DB_HOLE, key, HOLE_KEY_BYTES, most, gather_hole, gathered);
	*pending += gathered->pending;
	for (size_t i = 0; result != R_FAILED && i < gathered->n; i++) {
		const struct hole *hole = &gathered->list[i];

		if (hole_put(txn, hole->pack, hole->offset, hole->bytes, HOLE_FREE) != R_OK ||
		    pack_release(txn, hole->pack) != R_OK)
			result = R_FAILED;
	}
	free(gathered);
	return result;
}

static enum sweep add_hole(const void *key, const void *value, size_t size, void *arg)
{
	struct hole_record record;
	uint64_t *bytes = arg;

	(void)key;
	if (size == HOLE_RECORD_BYTES) {
		hole_record_decode(value, &record);
		*bytes += record.bytes;
	}
	return SWEEP_KEEP;
}

int reap_holes_bytes(struct store_view *view, uint64_t *bytes)
{
	uint8_t key[HOLE_KEY_BYTES] = { 0 };
	int result;

	*bytes = 0;
	do {
		result = index_sweep(view->txn, DB_HOLE, key, HOLE_KEY_BYTES, SWEEP_ENTRIES,
				     add_hole, bytes);
	} while (result == R_OK);
	return result == R_NOT_FOUND ? R_OK : result;
}

static int strike_out(struct index_txn *txn, void *arg)
{
	const struct gathered *gathered = arg;

	for (size_t i = 0; i < gathered->n; i++) {
		uint8_t key[HOLE_KEY_BYTES];

		make_key(key, gathered->list[i].pack, gathered->list[i].offset);
		if (index_del(txn, DB_HOLE, key, sizeof(key)) == R_FAILED)
			return R_FAILED;
	}
	return R_OK;
}

/* Neighbours, which come one after another, are punched as one hole, or the blocks they share would
 * stay. */
static int punch(struct store *store, const struct gathered *gathered, uint64_t *bytes)
{
	for (size_t i = 0; i < gathered->n;) {
		const struct hole *hole = &gathered->list[i];
		uint64_t end = hole->offset;

		for (; i < gathered->n && gathered->list[i].pack == hole->pack &&
		       gathered->list[i].offset == end;
		     i++)
			end += gathered->list[i].bytes;
		if (pack_punch(store, hole->pack, hole->offset, end - hole->offset, bytes) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int gather_free(struct store *store, struct gathered *gathered, uint8_t key[HOLE_KEY_BYTES])
{
	struct index_txn *txn;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	gathered->n = 0;
	do {
		result = index_sweep(txn, DB_HOLE, key, HOLE_KEY_BYTES, SWEEP_ENTRIES, gather_hole,
				     gathered);
	} while (result == R_OK && gathered->n < GATHER_MAX);
	index_read_end(txn);
	return result;
}

int reap_bytes(struct store *store, uint64_t *bytes)
{
	struct gathered *gathered = calloc(1, sizeof(*gathered));
	uint8_t key[HOLE_KEY_BYTES] = { 0 };
	int result, more;

	if (!gathered) {
		warn("out of memory");
		return R_FAILED;
	}
	result = recover_packs(store, bytes);
	*bytes += recover_temporaries(store);
	do {
		more = result == R_OK ? gather_free(store, gathered, key) : result;
		if (more == R_FAILED)
			result = R_FAILED;
		if (result == R_OK && gathered->n > 0)
			result = punch(store, gathered, bytes);
		if (result == R_OK && gathered->n > 0)
			result = index_write(store->index, strike_out, gathered);
	} while (result == R_OK && more == R_OK);
	free(gathered);
	return result;
}
