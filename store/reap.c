#include "store/store_reap.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_index.h"
#include "store/pack.h"
#include "store/reap_hole.h"
#include "store/segment_read.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct reap {
	struct store_view view;
};

struct call {
	struct store *store;
	int (*fn)(struct reap *reap, void *arg);
	void *arg;
};

static int call(struct index_txn *txn, void *arg)
{
	const struct call *what = arg;
	struct reap reap = { .view = { .store = what->store, .txn = txn } };
	int result;

	reap.view.cache = segment_cache_new();
	if (!reap.view.cache) {
		warn("out of memory");
		return R_FAILED;
	}
	result = what->fn(&reap, what->arg);
	segment_cache_free(reap.view.cache);
	directory_free(reap.view.directory);
	return result;
}

int reap_write(struct store *store, int (*fn)(struct reap *reap, void *arg), void *arg)
{
	struct call what = { store, fn, arg };

	if (store->writable)
		return index_write(store->index, call, &what);
	warn("%s was opened for reading only", store->dir);
	return R_FAILED;
}

int reap_check(struct store *store)
{
	return store_walk_all(store);
}

struct store_view *reap_view(struct reap *reap)
{
	return &reap->view;
}

uint64_t reap_txn(const struct reap *reap)
{
	return index_txn_id(reap->view.txn);
}

int reap_oldest_view(struct store *store, uint64_t *txn)
{
	return index_oldest_reader(store->index, txn);
}

int reap_next_numbers(struct store_view *view, uint64_t *generation, uint64_t *predump)
{
	return generation_next_numbers(view->txn, generation, predump);
}

int reap_spares(struct store_view *view, uint64_t *spares)
{
	return index_meta_get(view->txn, "spares", 0, spares);
}

int reap_generation_next(struct store_view *view, uint64_t number, struct reap_generation *found)
{
	struct generation_record record;
	int result;

	result = generation_ceiling(view->txn, number, &record);
	if (result == R_OK)
		*found =
		    (struct reap_generation){ record.gen, record.directory, record.commit_txn };
	return result;
}

int reap_forget(struct reap *reap, const struct generation *gen, uint64_t newest)
{
	struct index_txn *txn = reap->view.txn;

	if (index_del_u64(txn, DB_GENERATION, gen->number) != R_OK)
		return R_FAILED;
	return generation_set_newest(txn, gen, newest);
}

int reap_hashes(struct reap *reap, const struct page_set *keep, uint8_t from[HASH_KEY_BYTES],
		size_t most, uint64_t *dropped)
{
	return hash_index_drop(reap->view.txn, keep, from, most, dropped);
}

int reap_hashes_seek(struct store_view *view, const struct page_set *keep,
		     uint8_t from[HASH_KEY_BYTES])
{
	return hash_index_seek(view->txn, keep, from);
}

static int look_at(struct index_txn *txn, page_no first, const uint8_t *raw,
		   struct reap_segment *segment)
{
	uint8_t condemned_raw[CONDEMNED_RECORD_BYTES];
	struct condemned_record condemned;
	int result;

	memset(segment, 0, sizeof(*segment));
	segment_record_decode(first, raw, &segment->record);
	segment->bytes = (uint64_t)segment->record.header_bytes + segment->record.body_bytes;
	result = index_get_u64(txn, DB_CONDEMNED, first, condemned_raw, sizeof(condemned_raw));
	if (result == R_OK) {
		condemned_record_decode(condemned_raw, &condemned);
		segment->condemned_txn = condemned.txn;
		segment->live = condemned.live;
		segment->digest = condemned.digest;
	}
	return result == R_FAILED ? R_FAILED : R_OK;
}

int reap_segment_next(struct store_view *view, page_no first, struct reap_segment *segment)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	uint64_t found;
	int result;

	result = index_ceiling(view->txn, DB_SEGMENT, first, &found, raw, sizeof(raw));
	return result == R_OK ? look_at(view->txn, found, raw, segment) : result;
}

int reap_segment_before(struct store_view *view, page_no first, struct reap_segment *segment)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	uint64_t found;
	int result;

	result = index_floor(view->txn, DB_SEGMENT, first, &found, raw, sizeof(raw));
	return result == R_OK ? look_at(view->txn, found, raw, segment) : result;
}

int reap_condemned_next(struct store_view *view, page_no first, struct reap_segment *segment)
{
	uint8_t raw[CONDEMNED_RECORD_BYTES], segment_raw[SEGMENT_RECORD_BYTES];
	uint64_t found;
	int result;

	result = index_ceiling(view->txn, DB_CONDEMNED, first, &found, raw, sizeof(raw));
	if (result != R_OK)
		return result;
	result = index_get_u64(view->txn, DB_SEGMENT, found, segment_raw, sizeof(segment_raw));
	if (result == R_OK)
		return look_at(view->txn, found, segment_raw, segment);
	if (result == R_FAILED)
		return R_FAILED;
	warn("the index condemns a segment of page %lu that it does not have: run snap verify",
	     (unsigned long)found);
	return R_FAILED;
}

static int tell_bases(struct store_view *view, page_no first,
		      int (*fn)(page_no number, page_no base, void *arg), void *arg)
{
	const struct segment *segment;
	uint32_t place;
	int result;

	result = view_segment(view, first, &segment, &place);
	if (result == R_DAMAGED)
		warn("the segment of page %" PRIu64
		     " has a damaged header, so it is not known what "
		     "its pages need: run snap verify, then forget what it names",
		     first);
	for (uint32_t i = result == R_OK ? segment->record.pages : 0; i-- > 0;) {
		page_no base = segment_base(segment, i);

		if (base != PAGE_ABSENT)
			result = fn(segment_number(segment, i), base, arg);
		if (result != R_OK)
			break;
	}
	return result;
}

int reap_bases(struct store_view *view, bool (*want)(page_no first, page_no last, void *arg),
	       int (*fn)(page_no number, page_no base, void *arg), void *arg)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record record;
	uint64_t next = UINT64_MAX, first;
	int result;

	while ((result = index_floor(view->txn, DB_SEGMENT, next, &first, raw, sizeof(raw))) ==
	       R_OK) {
		segment_record_decode(first, raw, &record);
		if (record.flags & SEGMENT_DELTAS && want(first, record.last, arg)) {
			result = tell_bases(view, first, fn, arg);
			if (result != R_OK)
				return result;
		}
		if (first == 0)
			return R_OK;
		next = first - 1;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

int reap_counts(struct store_view *view, uint64_t *condemned, uint64_t *holes)
{
	return index_count(view->txn, DB_CONDEMNED, condemned) == R_OK
		   ? index_count(view->txn, DB_HOLE, holes)
		   : R_FAILED;
}

uint64_t reap_digest(struct store_view *view, const struct page_set *set,
		     const struct reap_segment *segment)
{
	return page_set_digest(set, segment->record.first, segment->record.last,
			       view->store->secret);
}

int reap_segment_same(struct reap *reap, const struct reap_segment *segment,
		      struct reap_segment *now)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	page_no first = segment->record.first;
	int result;

	result = index_get_u64(reap->view.txn, DB_SEGMENT, first, raw, sizeof(raw));
	if (result == R_OK)
		result = look_at(reap->view.txn, first, raw, now);
	if (result == R_OK && (now->record.pack != segment->record.pack ||
			       now->record.offset != segment->record.offset))
		return R_NOT_FOUND;
	return result;
}

int reap_condemn(struct reap *reap, page_no first, uint32_t live, uint64_t digest)
{
	struct condemned_record condemned = {
		.txn = reap_txn(reap),
		.live = live,
		.digest = digest,
	};
	uint8_t raw[CONDEMNED_RECORD_BYTES];

	condemned_record_encode(&condemned, raw);
	return index_put_u64(reap->view.txn, DB_CONDEMNED, first, raw, sizeof(raw));
}

/* Without its header the pages are only not found by hash. */
static int put_hashes(struct reap *reap, const struct segment *segment, const struct page_set *live)
{
	struct hash_entry entries[SEGMENT_PAGES];
	size_t n = 0;

	if (segment->record.flags & SEGMENT_SEALED)
		return R_OK;
	for (uint32_t i = 0; i < segment->record.pages; i++) {
		page_no number = segment_number(segment, i);

		if (!page_set_has(live, number))
			continue;
		entries[n].prefix = hash_prefix(segment_hash(segment, i));
		entries[n++].number = number;
	}
	return hash_index_add(reap->view.txn, entries, n);
}

int reap_spare(struct reap *reap, const struct reap_segment *segment, const struct page_set *live)
{
	struct index_txn *txn = reap->view.txn;
	struct segment loaded;
	uint64_t spares;
	int fd, result;

	result = pack_open(reap->view.store, segment->record.pack, false, &fd);
	if (result == R_OK) {
		result = segment_load(reap->view.store->secret, fd, &segment->record, &loaded);
		close(fd);
	}
	if (result == R_OK) {
		result = put_hashes(reap, &loaded, live);
		segment_free(&loaded);
	}
	if (result == R_FAILED || index_meta_get(txn, "spares", 0, &spares) != R_OK ||
	    index_meta_put(txn, "spares", spares + 1) != R_OK)
		return R_FAILED;
	return index_del_u64(txn, DB_CONDEMNED, segment->record.first) == R_FAILED ? R_FAILED
										   : R_OK;
}

int reap_condemn_again(struct reap *reap, uint64_t commit_txn)
{
	uint8_t raw[CONDEMNED_RECORD_BYTES];
	struct condemned_record condemned;
	uint64_t next = 0, first;
	int result;

	while ((result = index_ceiling(reap->view.txn, DB_CONDEMNED, next, &first, raw,
				       sizeof(raw))) == R_OK) {
		next = first + 1;
		condemned_record_decode(raw, &condemned);
		if (condemned.txn >= commit_txn)
			continue;
		condemned.txn = reap_txn(reap);
		condemned_record_encode(&condemned, raw);
		if (index_put_u64(reap->view.txn, DB_CONDEMNED, first, raw, sizeof(raw)) != R_OK)
			return R_FAILED;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

int reap_drop(struct reap *reap, const struct reap_segment *segment)
{
	struct index_txn *txn = reap->view.txn;
	const struct segment_record *record = &segment->record;

	if (index_del_u64(txn, DB_SEGMENT, record->first) != R_OK ||
	    index_del_u64(txn, DB_CONDEMNED, record->first) != R_OK)
		return R_FAILED;
	return hole_put(txn, record->pack, record->offset, segment->bytes, HOLE_FREE) == R_OK
		   ? pack_release(txn, record->pack)
		   : R_FAILED;
}
