#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/pack.h"
#include "store/segment_read.h"

#include <string.h>
#include <unistd.h>

/* Segments condemned by one transaction: short enough for a take to wait for. */
#define BATCH 64

struct batch {
	struct store *store;
	struct marks *marks;
	struct segment segments[BATCH]; /* header NULL: damaged, its hashes are not known */
	size_t n;
	uint64_t pages;
};

/* Reads a header through a descriptor of its own: dead segments are seldom in any cache. */
static int load(struct store *store, const struct segment_record *record, struct segment *segment)
{
	int fd, result;

	memset(segment, 0, sizeof(*segment));
	result = pack_open(store, record->pack, false, &fd);
	if (result == R_OK) {
		result = segment_load(store->secret, fd, record, segment);
		close(fd);
	}
	if (result == R_FAILED)
		return R_FAILED;
	segment->record = *record;
	return R_OK;
}

static int drop_hashes(struct index_txn *txn, const struct segment *segment)
{
	for (uint32_t i = 0; segment->header && i < segment->record.pages; i++) {
		const uint8_t *hash = segment_hash(segment, i);
		uint8_t raw[8];
		int result;

		result = index_get(txn, DB_PAGE, hash, HASH_BYTES, raw, sizeof(raw));
		if (result == R_OK && get_le64(raw) == segment_number(segment, i))
			result = index_del(txn, DB_PAGE, hash, HASH_BYTES);
		if (result == R_FAILED)
			return R_FAILED;
	}
	return R_OK;
}

static int condemn_one(struct index_txn *txn, struct batch *batch, const struct segment *segment)
{
	const struct segment_record *record = &segment->record;
	struct condemned_record condemned = {
		.txn = index_txn_id(txn),
		.pack = record->pack,
		.offset = record->offset,
		.bytes = (uint64_t)record->header_bytes + record->body_bytes,
	};
	uint8_t raw[CONDEMNED_RECORD_BYTES], there[SEGMENT_RECORD_BYTES];
	int result;

	/* Another gc may have been here since the look outside the transaction. */
	result = index_get_u64(txn, DB_SEGMENT, record->first, there, sizeof(there));
	if (result == R_OK)
		result = index_get_u64(txn, DB_CONDEMNED, record->first, raw, sizeof(raw)) == R_OK
			     ? R_NOT_FOUND
			     : R_OK;
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_OK : result;
	if (marks_any(batch->marks, record->first, record->last))
		return R_OK;
	if (drop_hashes(txn, segment) != R_OK)
		return R_FAILED;
	batch->pages += record->pages;
	condemned_record_encode(&condemned, raw);
	return index_put_u64(txn, DB_CONDEMNED, record->first, raw, sizeof(raw));
}

static int condemn_batch(struct index_txn *txn, void *arg)
{
	struct batch *batch = arg;
	int result;

	batch->pages = 0;
	result = mark_in_txn(batch->store, txn, batch->marks);
	for (size_t i = 0; result == R_OK && i < batch->n; i++)
		result = condemn_one(txn, batch, &batch->segments[i]);
	return result;
}

/* Gathers up to BATCH dead segments from `*next` on, moving it. */
static int gather(struct batch *batch, uint64_t *next)
{
	uint8_t raw[SEGMENT_RECORD_BYTES], condemned[CONDEMNED_RECORD_BYTES];
	struct segment_record record;
	struct index_txn *txn;
	uint64_t first;
	int result;

	if (index_read_begin(batch->store->index, &txn) != R_OK)
		return R_FAILED;
	batch->n = 0;
	result = R_OK;
	while (batch->n < BATCH && result == R_OK) {
		result = index_ceiling(txn, DB_SEGMENT, *next, &first, raw, sizeof(raw));
		if (result != R_OK)
			break;
		*next = first + 1;
		segment_record_decode(first, raw, &record);
		if (marks_any(batch->marks, first, record.last))
			continue;
		result = index_get_u64(txn, DB_CONDEMNED, first, condemned, sizeof(condemned));
		if (result == R_OK)
			continue;
		if (result == R_NOT_FOUND)
			result = load(batch->store, &record, &batch->segments[batch->n++]);
	}
	index_read_end(txn);
	return result == R_NOT_FOUND ? R_OK : result;
}

int condemn_segments(struct store *store, struct marks *marks, struct gc_result *result)
{
	struct batch batch = { .store = store, .marks = marks };
	uint64_t next = 0;
	int outcome;

	do {
		outcome = gather(&batch, &next);
		if (outcome == R_OK && batch.n > 0)
			outcome = index_write(store->index, condemn_batch, &batch);
		for (size_t i = 0; i < batch.n; i++)
			segment_free(&batch.segments[i]);
		if (outcome != R_OK)
			return outcome;
		result->pages_dead += batch.n > 0 ? batch.pages : 0;
	} while (batch.n > 0);
	return R_OK;
}
