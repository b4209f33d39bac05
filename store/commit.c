#include "store/commit.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_index.h"
#include "store/segment_read.h"

#include <stdlib.h>
#include <string.h>

/* Hashes go into the index sorted, a batch of segments at a time: 16 MiB. */
#define BATCH_SEGMENTS 4096

/* Entries a commit merges at most, for each it adds and beside: there are about eight tiers. */
#define MERGE_SHARE 8
#define MERGE_MIN 65536

struct commit {
	struct store *store;
	struct segment_writer *writer;
	struct generation_record record;
	struct hash_entry *batch;
};

/* Among equal hashes more are not tried: then a page is stored twice. */
#define CANDIDATES 8

/* Whether a page is this one. */
static int is_page(struct store_view *view, page_no number, const uint8_t *hash, const void *page)
{
	const uint8_t *there;
	int result;

	result = view_page_hash(view, number, &there);
	if (result == R_OK)
		result = memcmp(there, hash, HASH_BYTES) == 0 ? view_page(view, number, &there)
							      : R_DAMAGED;
	if (result == R_OK)
		result = memcmp(there, page, PAGE_BYTES) == 0 ? R_OK : R_DAMAGED;
	return result == R_DAMAGED ? R_NOT_FOUND : result;
}

int view_find_page(struct store_view *view, const uint8_t hash[HASH_BYTES], const void *page,
		   page_no *number)
{
	page_no candidates[CANDIDATES];
	int result = R_NOT_FOUND;
	size_t n;

	if (!view->runs && !(view->runs = hash_runs_new())) {
		warn("out of memory");
		return R_FAILED;
	}
	if (hash_index_find(view->txn, view->runs, hash, candidates, CANDIDATES, &n) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < n && result == R_NOT_FOUND; i++) {
		*number = candidates[i];
		result = is_page(view, *number, hash, page);
	}
	return result;
}

static int load_hashes(struct commit *commit, const struct segment_record *record, size_t *n)
{
	struct segment segment;
	int fd, result;

	/* Nothing equal is ever going to be stored. */
	if (record->flags & SEGMENT_SEALED)
		return R_OK;
	if (pack_writer_open(segment_writer_packs(commit->writer), record, &fd) != R_OK)
		return R_FAILED;
	result = segment_load(commit->store->secret, fd, record, &segment);
	if (result == R_DAMAGED)
		warn("%s/packs/%016lx.pack: does not read back as written: check the disk",
		     commit->store->dir, (unsigned long)record->pack);
	if (result != R_OK)
		return R_FAILED;
	for (uint32_t i = 0; i < record->pages; i++, ++*n) {
		commit->batch[*n].prefix = hash_prefix(segment_hash(&segment, i));
		commit->batch[*n].number = segment_number(&segment, i);
	}
	segment_free(&segment);
	return R_OK;
}

static int put_segments(struct index_txn *txn, struct commit *commit)
{
	const struct segment_record *records;
	size_t n, loaded = 0;

	records = segment_writer_records(commit->writer, &n);
	for (size_t i = 0; i < n; i++) {
		uint8_t raw[SEGMENT_RECORD_BYTES];

		segment_record_encode(&records[i], raw);
		if (index_put_u64(txn, DB_SEGMENT, records[i].first, raw, sizeof(raw)) != R_OK ||
		    load_hashes(commit, &records[i], &loaded) != R_OK)
			return R_FAILED;
		if (i + 1 < n && (i + 1) % BATCH_SEGMENTS != 0)
			continue;
		if (hash_index_add(txn, commit->batch, loaded) != R_OK)
			return R_FAILED;
		loaded = 0;
	}
	return R_OK;
}

/* Keys and values, without what LMDB needs around them. */
static uint64_t bytes_index(const struct commit *commit)
{
	const struct segment_record *records;
	uint64_t pages = 0;
	size_t n;

	records = segment_writer_records(commit->writer, &n);
	for (size_t i = 0; i < n; i++)
		pages += records[i].pages;
	return pages * HASH_ENTRY_BYTES + n * (8 + SEGMENT_RECORD_BYTES) + 8 + PACK_RECORD_BYTES +
	       8 + GENERATION_RECORD_BYTES;
}

static int put_all(struct index_txn *txn, void *arg)
{
	struct commit *commit = arg;
	struct generation *gen = &commit->record.gen;

	if (put_segments(txn, commit) != R_OK ||
	    pack_writer_put(segment_writer_packs(commit->writer), txn) != R_OK ||
	    generation_number(commit->store, txn, gen) != R_OK)
		return R_FAILED;
	commit->record.commit_txn = index_txn_id(txn);
	gen->bytes_index = bytes_index(commit);
	if (generation_write(txn, &commit->record) != R_OK)
		return R_FAILED;
	return generation_set_newest(txn, gen, gen->number);
}

int commit_generation(struct store *store, struct segment_writer *writer,
		      const struct object *directory, struct generation *gen)
{
	struct commit commit = { .store = store, .writer = writer };
	size_t n;
	int result;

	segment_writer_records(writer, &n);
	if (n > BATCH_SEGMENTS)
		n = BATCH_SEGMENTS;
	commit.batch = malloc((n + 1) * SEGMENT_PAGES * sizeof(*commit.batch));
	if (!commit.batch) {
		warn("out of memory");
		return R_FAILED;
	}
	commit.record.directory = *directory;
	commit.record.gen = *gen;
	result = index_write(store->index, put_all, &commit);
	free(commit.batch);
	if (result != R_OK)
		return result;
	gen->number = commit.record.gen.number;
	gen->bytes_index = commit.record.gen.bytes_index;
	return R_OK;
}

void commit_settle(struct store *store, size_t segments)
{
	size_t n = segments < BATCH_SEGMENTS ? segments : BATCH_SEGMENTS;

	hash_index_merge(store->index, MERGE_MIN + MERGE_SHARE * n * SEGMENT_PAGES);
}
