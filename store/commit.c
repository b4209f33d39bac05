#include "store/commit.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/segment_read.h"

#include <stdlib.h>
#include <string.h>

/* Hashes go into the index sorted, a batch of segments at a time: 24 MiB. */
#define BATCH_SEGMENTS 4096

struct hash_entry {
	uint8_t hash[HASH_BYTES];
	page_no number;
};

struct commit {
	struct store *store;
	struct segment_writer *writer;
	struct generation_record record;
	struct hash_entry *batch;
};

int view_find_hash(struct store_view *view, const uint8_t hash[HASH_BYTES], page_no *number)
{
	uint8_t raw[8];
	int result;

	result = index_get(view->txn, DB_PAGE, hash, HASH_BYTES, raw, sizeof(raw));
	if (result == R_OK)
		*number = get_le64(raw);
	return result;
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(a, b, HASH_BYTES);
}

static int load_hashes(struct commit *commit, const struct segment_record *record, size_t *n)
{
	int fd = pack_writer_fd(segment_writer_packs(commit->writer), record->pack);
	struct segment segment;
	int result;

	result = segment_load(commit->store->secret, fd, record, &segment);
	if (result == R_DAMAGED)
		warn("%s/packs/%016lx.pack: does not read back as written: check the disk",
		     commit->store->dir, (unsigned long)record->pack);
	if (result != R_OK)
		return R_FAILED;
	for (uint32_t i = 0; i < record->pages; i++, ++*n) {
		memcpy(commit->batch[*n].hash, segment_hash(&segment, i), HASH_BYTES);
		commit->batch[*n].number = segment_number(&segment, i);
	}
	segment_free(&segment);
	return R_OK;
}

/* A hash that is there already keeps its page: another take was first, or the bytes differ. */
static int put_hashes(struct index_txn *txn, struct commit *commit, size_t n)
{
	qsort(commit->batch, n, sizeof(*commit->batch), by_hash);
	for (size_t i = 0; i < n; i++) {
		uint8_t raw[8];

		put_le64(raw, commit->batch[i].number);
		if (index_put(txn, DB_PAGE, commit->batch[i].hash, HASH_BYTES, raw, sizeof(raw),
			      false) == R_FAILED)
			return R_FAILED;
	}
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
		if (put_hashes(txn, commit, loaded) != R_OK)
			return R_FAILED;
		loaded = 0;
	}
	return R_OK;
}

static int put_all(struct index_txn *txn, void *arg)
{
	struct commit *commit = arg;
	struct generation *gen = &commit->record.gen;
	uint8_t raw[8];

	if (put_segments(txn, commit) != R_OK ||
	    pack_writer_put(segment_writer_packs(commit->writer), txn) != R_OK ||
	    index_meta_get(txn, "next_generation", 1, &gen->number) != R_OK ||
	    index_meta_put(txn, "next_generation", gen->number + 1) != R_OK)
		return R_FAILED;
	commit->record.commit_txn = index_txn_id(txn);
	if (generation_write(txn, &commit->record) != R_OK)
		return R_FAILED;
	put_le64(raw, gen->number);
	return index_put(txn, DB_LINEAGE, gen->lineage, strlen(gen->lineage), raw, sizeof(raw),
			 true);
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
	if (result == R_OK)
		gen->number = commit.record.gen.number;
	free(commit.batch);
	return result;
}
