#include "store/hash_block.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"

#include <stdlib.h>
#include <string.h>

#define RUN_RECORD_BYTES 16

struct gathering {
	struct run_list *list;
	size_t room;
	bool failed;
};

static enum sweep gather_run(const void *key, const void *value, size_t size, void *arg)
{
	struct gathering *gathering = arg;
	struct run_list *list = gathering->list;
	const uint8_t *raw = value;

	if (size != RUN_RECORD_BYTES) {
		warn("index: a record of a run has %zu bytes: the store is damaged", size);
		gathering->failed = true;
		return SWEEP_STOP;
	}
	if (list->n == gathering->room) {
		size_t room = gathering->room ? gathering->room * 2 : 32;
		struct run *more = realloc(list->runs, room * sizeof(*more));

		if (!more) {
			warn("out of memory");
			gathering->failed = true;
			return SWEEP_STOP;
		}
		list->runs = more;
		gathering->room = room;
	}
	list->runs[list->n++] = (struct run){
		.id = get_be64(key),
		.entries = get_le64(raw),
		.into = get_le64(raw + 8),
	};
	return SWEEP_KEEP;
}

int run_list_read(struct index_txn *txn, struct run_list *list)
{
	struct gathering gathering = { .list = list };
	uint8_t key[8] = { 0 };
	int result;

	free(list->runs);
	*list = (struct run_list){ 0 };
	result = index_sweep(txn, DB_RUN, key, sizeof(key), SIZE_MAX, gather_run, &gathering);
	return result == R_FAILED || gathering.failed ? R_FAILED : R_OK;
}

int run_put(struct index_txn *txn, const struct run *run)
{
	uint8_t raw[RUN_RECORD_BYTES];

	put_le64(raw, run->entries);
	put_le64(raw + 8, run->into);
	return index_put_u64(txn, DB_RUN, run->id, raw, sizeof(raw));
}

int run_del(struct index_txn *txn, uint64_t id)
{
	return index_del_u64(txn, DB_RUN, id) == R_FAILED ? R_FAILED : R_OK;
}

void block_key(uint8_t key[HASH_KEY_BYTES], uint64_t run, uint64_t prefix)
{
	put_be64(key, run);
	put_be64(key + 8, prefix);
}

void block_key_next(uint8_t key[HASH_KEY_BYTES])
{
	uint64_t low = get_be64(key + 8) + 1;

	put_be64(key + 8, low);
	if (low == 0)
		put_be64(key, get_be64(key) + 1);
}

struct hash_entry block_entry(const uint8_t *stored, size_t i)
{
	const uint8_t *at = stored + i * BLOCK_ENTRY_BYTES;
	struct hash_entry entry;

	entry.prefix = get_be64(at) >> 16;
	/* The two bytes before are the end of the prefix. */
	entry.number = get_le64(at + 4) >> 16;
	return entry;
}

static void store_entry(uint8_t *at, const struct hash_entry *entry)
{
	uint8_t wide[8];

	put_be64(wide, entry->prefix << 16);
	memcpy(at, wide, 6);
	put_le64(wide, entry->number);
	memcpy(at + 6, wide, 6);
}

int block_copy(const void *key, const void *value, size_t size, void *arg)
{
	struct block *block = arg;

	if (size > BLOCK_BYTES_MAX || size % BLOCK_ENTRY_BYTES != 0) {
		warn("index: a block of hashes has %zu bytes: the store is damaged", size);
		return R_FAILED;
	}
	memcpy(block->key, key, HASH_KEY_BYTES);
	block->n = size / BLOCK_ENTRY_BYTES;
	for (size_t i = 0; i < block->n; i++)
		block->entries[i] = block_entry(value, i);
	return R_OK;
}

int block_put(struct index_txn *txn, const struct block *block)
{
	uint8_t raw[BLOCK_BYTES_MAX];

	if (block->n == 0)
		return index_del(txn, DB_HASH, block->key, HASH_KEY_BYTES) == R_FAILED ? R_FAILED
										       : R_OK;
	for (size_t i = 0; i < block->n; i++)
		store_entry(raw + i * BLOCK_ENTRY_BYTES, &block->entries[i]);
	return index_put(txn, DB_HASH, block->key, HASH_KEY_BYTES, raw,
			 block->n * BLOCK_ENTRY_BYTES, true);
}

void run_writer_begin(struct run_writer *writer, struct index_txn *txn, uint64_t run,
		      uint64_t last_key)
{
	writer->txn = txn;
	writer->run = run;
	writer->last_key = last_key;
	writer->last.prefix = NO_PREFIX;
	writer->entries = 0;
	writer->block.n = 0;
}

static int flush(struct run_writer *writer)
{
	uint64_t prefix = writer->block.entries[0].prefix;
	int result;

	block_key(writer->block.key, writer->run, prefix);
	result = block_put(writer->txn, &writer->block);
	writer->last_key = prefix;
	writer->block.n = 0;
	return result;
}

int run_writer_put(struct run_writer *writer, const struct hash_entry *entry)
{
	/* Twice the same says nothing more.  A block must not begin as the one before does; that so
	 * many pages have one prefix is not met in practice, and they only are not found. */
	if (entry->number > NUMBER_MAX ||
	    (writer->last.prefix == entry->prefix && writer->last.number == entry->number) ||
	    (writer->block.n == 0 && writer->last_key == entry->prefix))
		return R_OK;
	writer->last = *entry;
	writer->block.entries[writer->block.n++] = *entry;
	writer->entries++;
	return writer->block.n == BLOCK_ENTRIES ? flush(writer) : R_OK;
}

int run_writer_end(struct run_writer *writer)
{
	return writer->block.n > 0 ? flush(writer) : R_OK;
}
