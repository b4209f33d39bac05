#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"
#include "store/pack.h"
#include "store/segment_read.h"

#include <stdlib.h>
#include <unistd.h>

/* Segments handled by one transaction, so that no take waits long for it. */
#define BATCH 1024

struct reclaim {
	struct store *store;
	struct marks *marks;
	uint64_t next; /* first page number the following batch begins at */
	uint64_t next_after, pending;
	bool more;
};

/* A take that began before the condemnation has referred to it: it lives, with its hashes. */
static int bring_back(struct index_txn *txn, struct reclaim *reclaim,
		      const struct segment_record *record)
{
	struct segment segment;
	int fd, result;

	result = pack_open(reclaim->store, record->pack, false, &fd);
	if (result == R_FAILED)
		return R_FAILED;
	if (result == R_OK) {
		result = segment_load(reclaim->store->secret, fd, record, &segment);
		close(fd);
	}
	if (result == R_FAILED)
		return R_FAILED;
	/* Without its header the pages are only not found by hash. */
	for (uint32_t i = 0; result == R_OK && i < record->pages; i++) {
		uint8_t raw[8];

		put_le64(raw, segment_number(&segment, i));
		if (index_put(txn, DB_PAGE, segment_hash(&segment, i), HASH_BYTES, raw, sizeof(raw),
			      false) == R_FAILED) {
			segment_free(&segment);
			return R_FAILED;
		}
	}
	if (result == R_OK)
		segment_free(&segment);
	return index_del_u64(txn, DB_CONDEMNED, record->first);
}

static int drop_segment(struct index_txn *txn, uint64_t first, struct condemned_record *condemned)
{
	uint8_t raw[PACK_RECORD_BYTES], waiting[CONDEMNED_RECORD_BYTES];
	struct pack_record pack;

	if (index_get_u64(txn, DB_PACK, condemned->pack, raw, sizeof(raw)) != R_OK)
		return R_FAILED;
	pack_record_decode(raw, &pack);
	pack.segments--;
	pack_record_encode(&pack, raw);
	if (index_del_u64(txn, DB_SEGMENT, first) != R_OK)
		return R_FAILED;
	/* A pack no index knows is an orphan, and removed as such. */
	if (pack.segments == 0)
		return index_del_u64(txn, DB_PACK, condemned->pack) == R_OK &&
			       index_del_u64(txn, DB_CONDEMNED, first) == R_OK
			   ? R_OK
			   : R_FAILED;
	condemned->state = CONDEMNED_RECLAIMED;
	condemned_record_encode(condemned, waiting);
	if (index_put_u64(txn, DB_PACK, condemned->pack, raw, sizeof(raw)) != R_OK)
		return R_FAILED;
	return index_put_u64(txn, DB_CONDEMNED, first, waiting, sizeof(waiting));
}

static int reclaim_one(struct index_txn *txn, struct reclaim *reclaim, uint64_t first,
		       struct condemned_record *condemned, uint64_t oldest)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record record;
	int result;

	if (condemned->state != CONDEMNED_WAITING)
		return R_OK;
	result = index_get_u64(txn, DB_SEGMENT, first, raw, sizeof(raw));
	if (result != R_OK)
		return R_FAILED;
	segment_record_decode(first, raw, &record);
	if (marks_any(reclaim->marks, first, record.last))
		return bring_back(txn, reclaim, &record);
	if (condemned->txn > oldest) {
		reclaim->pending += condemned->bytes;
		return R_OK;
	}
	return drop_segment(txn, first, condemned);
}

/*
 * No reader that began before the condemnation is left, and within this transaction nobody can
 * commit: so what the marks, brought up to date here, do not have cannot be referred to by anyone
 * any more.  Later readers neither find the pages by hash nor reach them from a generation.
 */
static int reclaim_batch(struct index_txn *txn, void *arg)
{
	struct reclaim *reclaim = arg;
	uint8_t raw[CONDEMNED_RECORD_BYTES];
	uint64_t next = reclaim->next, first, oldest, reclaims;
	struct condemned_record condemned;
	int result;

	reclaim->pending = 0;
	reclaim->more = false;
	result = mark_in_txn(reclaim->store, txn, reclaim->marks);
	if (result != R_OK)
		return result;
	if (index_oldest_reader(reclaim->store->index, &oldest) != R_OK ||
	    index_meta_get(txn, "reclaims", 0, &reclaims) != R_OK ||
	    index_meta_put(txn, "reclaims", reclaims + 1) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < BATCH; i++) {
		result = index_ceiling(txn, DB_CONDEMNED, next, &first, raw, sizeof(raw));
		if (result == R_NOT_FOUND)
			return R_OK;
		if (result != R_OK)
			return R_FAILED;
		next = first + 1;
		condemned_record_decode(raw, &condemned);
		if (reclaim_one(txn, reclaim, first, &condemned, oldest) != R_OK)
			return R_FAILED;
	}
	reclaim->more = true;
	reclaim->next_after = next;
	return R_OK;
}

static int count_condemned(struct store *store, uint64_t *n)
{
	struct index_txn *txn;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	result = index_count(txn, DB_CONDEMNED, n);
	index_read_end(txn);
	return result;
}

int reclaim_segments(struct store *store, struct marks *marks, struct gc_result *result)
{
	struct reclaim reclaim = { .store = store, .marks = marks };
	uint64_t condemned;

	result->bytes_pending = 0;
	if (count_condemned(store, &condemned) != R_OK)
		return R_FAILED;
	if (condemned == 0)
		return R_OK;
	do {
		int outcome = index_write(store->index, reclaim_batch, &reclaim);

		if (outcome != R_OK)
			return outcome;
		result->bytes_pending += reclaim.pending;
		reclaim.next = reclaim.next_after;
	} while (reclaim.more);
	return R_OK;
}

/* Ranges of packs that no segment needs any more. */
struct hole {
	uint64_t first; /* its key in the index */
	uint64_t pack, offset, bytes;
};

struct holes {
	struct hole *list;
	size_t n, room;
};

static int gather_holes(struct store *store, struct holes *holes)
{
	uint8_t raw[CONDEMNED_RECORD_BYTES];
	struct condemned_record record;
	struct index_txn *txn;
	uint64_t next = 0, first;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	while ((result = index_ceiling(txn, DB_CONDEMNED, next, &first, raw, sizeof(raw))) ==
	       R_OK) {
		next = first + 1;
		condemned_record_decode(raw, &record);
		if (record.state != CONDEMNED_RECLAIMED)
			continue;
		if (holes->n == holes->room) {
			size_t room = holes->room ? holes->room * 2 : 256;
			struct hole *more = realloc(holes->list, room * sizeof(*more));

			if (!more) {
				warn("out of memory");
				result = R_FAILED;
				break;
			}
			holes->list = more;
			holes->room = room;
		}
		holes->list[holes->n++] =
		    (struct hole){ first, record.pack, record.offset, record.bytes };
	}
	index_read_end(txn);
	return result == R_NOT_FOUND ? R_OK : result;
}

static int by_place(const void *a, const void *b)
{
	const struct hole *x = a, *y = b;

	if (x->pack != y->pack)
		return x->pack < y->pack ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int drop_holes(struct index_txn *txn, void *arg)
{
	const struct holes *holes = arg;

	for (size_t i = 0; i < holes->n; i++)
		if (index_del_u64(txn, DB_CONDEMNED, holes->list[i].first) == R_FAILED)
			return R_FAILED;
	return R_OK;
}

/* Neighbours are punched as one hole, or the blocks they share would stay. */
static int punch_holes(struct store *store, struct holes *holes, uint64_t *freed)
{
	if (holes->n > 1)
		qsort(holes->list, holes->n, sizeof(*holes->list), by_place);
	for (size_t i = 0; i < holes->n;) {
		const struct hole *hole = &holes->list[i];
		uint64_t end = hole->offset;

		for (; i < holes->n && holes->list[i].pack == hole->pack &&
		       holes->list[i].offset == end;
		     i++)
			end += holes->list[i].bytes;
		if (pack_punch(store, hole->pack, hole->offset, end - hole->offset, freed) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

int free_reclaimed(struct store *store, struct gc_result *result)
{
	struct holes holes = { 0 };
	int outcome;

	outcome = gather_holes(store, &holes);
	if (outcome == R_OK)
		outcome = recover_packs(store, &result->bytes_freed);
	if (outcome == R_OK && holes.n > 0)
		outcome = punch_holes(store, &holes, &result->bytes_freed);
	if (outcome == R_OK && holes.n > 0)
		outcome = index_write(store->index, drop_holes, &holes);
	free(holes.list);
	return outcome;
}
