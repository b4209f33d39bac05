#include "store/hash_index.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_block.h"

#include <stdlib.h>
#include <string.h>

/* 16 MiB of blocks: what a pass over all of them holds in memory at once. */
#define LET_GO_BLOCKS 4096

/* What a view searches, the newest first. */
struct hash_runs {
	bool known;
	struct run_list list;
};

uint64_t hash_prefix(const uint8_t hash[HASH_BYTES])
{
	return get_be64(hash) >> 16;
}

static int by_prefix(const void *a, const void *b)
{
	const struct hash_entry *x = a, *y = b;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

int hash_index_add(struct index_txn *txn, struct hash_entry *entries, size_t n)
{
	struct run_writer writer;
	struct run run = { 0 };
	uint64_t id;

	if (n == 0)
		return R_OK;
	qsort(entries, n, sizeof(*entries), by_prefix);
	if (index_meta_get(txn, "next_run", 1, &id) != R_OK ||
	    index_meta_put(txn, "next_run", id + 1) != R_OK)
		return R_FAILED;
	run_writer_begin(&writer, txn, id, NO_PREFIX);
	for (size_t i = 0; i < n; i++)
		if (run_writer_put(&writer, &entries[i]) != R_OK)
			return R_FAILED;
	if (run_writer_end(&writer) != R_OK)
		return R_FAILED;
	run.id = id;
	run.entries = writer.entries;
	return run_put(txn, &run);
}

struct hash_runs *hash_runs_new(void)
{
	return calloc(1, sizeof(struct hash_runs));
}

void hash_runs_free(struct hash_runs *runs)
{
	if (!runs)
		return;
	free(runs->list.runs);
	free(runs);
}

#define RUNS_AT_ONCE 16u

struct search {
	uint64_t prefix;
	uint8_t keys[RUNS_AT_ONCE][HASH_KEY_BYTES]; /* of the runs being looked at */
	page_no *numbers;
	size_t room, n;
};

/* The first entry with the prefix or a greater one.  Prefixes are evenly spread, so it is near
 * where it would be if they were quite even; that touches fewer lines of a block that nobody has at
 * hand than halving would. */
static size_t first_entry(const uint8_t *block, size_t n, uint64_t prefix)
{
	uint64_t low = block_entry(block, 0).prefix, high = block_entry(block, n - 1).prefix;
	size_t at;

	if (prefix <= low || high <= low)
		return prefix <= low ? 0 : prefix <= high ? n - 1 : n;
	if (prefix > high)
		return n;
	at = (size_t)((prefix - low) * (n - 1) / (high - low));
	while (at > 0 && block_entry(block, at - 1).prefix >= prefix)
		at--;
	while (at < n && block_entry(block, at).prefix < prefix)
		at++;
	return at;
}

/* Looks through a block in the map itself. */
static int search_block(size_t i, const void *key, const void *value, size_t size, void *arg)
{
	struct search *search = arg;
	size_t n = size / BLOCK_ENTRY_BYTES;

	if (get_be64(key) != get_be64(search->keys[i]) || n == 0)
		return R_OK;
	for (size_t at = first_entry(value, n, search->prefix); at < n && search->n < search->room;
	     at++) {
		struct hash_entry entry = block_entry(value, at);

		if (entry.prefix != search->prefix)
			break;
		search->numbers[search->n++] = entry.number;
	}
	return R_OK;
}

int hash_index_find(struct index_txn *txn, struct hash_runs *runs, const uint8_t hash[HASH_BYTES],
		    page_no *numbers, size_t room, size_t *n)
{
	struct search search = { .prefix = hash_prefix(hash), .numbers = numbers, .room = room };

	*n = 0;
	if (!runs->known && run_list_read(txn, &runs->list) != R_OK)
		return R_FAILED;
	runs->known = true;
	for (size_t left = runs->list.n; left > 0 && search.n < room;) {
		size_t some = left < RUNS_AT_ONCE ? left : RUNS_AT_ONCE;

		for (size_t i = 0; i < some; i++)
			block_key(search.keys[i], runs->list.runs[--left].id, search.prefix);
		if (index_look_floors(txn, DB_HASH, search.keys, HASH_KEY_BYTES, some, search_block,
				      &search) == R_FAILED)
			return R_FAILED;
	}
	*n = search.n;
	return R_OK;
}

/* The first block at or behind `key`, which becomes its own. */
static int next_block(struct index_txn *txn, uint8_t key[HASH_KEY_BYTES], struct block *block)
{
	int result;

	result = index_look(txn, DB_HASH, key, HASH_KEY_BYTES, false, block_copy, block);
	if (result == R_OK)
		memcpy(key, block->key, HASH_KEY_BYTES);
	return result;
}

/* Leaves in the block what is to be kept; true if that is less. */
static bool filter(struct block *block, const struct page_set *keep)
{
	size_t kept = 0;

	for (size_t i = 0; i < block->n; i++)
		if (page_set_has(keep, block->entries[i].number))
			block->entries[kept++] = block->entries[i];
	if (kept == block->n)
		return false;
	block->n = kept;
	return true;
}

int hash_index_seek(struct index_txn *txn, const struct page_set *keep, uint8_t key[HASH_KEY_BYTES])
{
	struct block block;
	size_t looked = 0;
	int result;

	while ((result = next_block(txn, key, &block)) == R_OK) {
		if (filter(&block, keep))
			return R_OK;
		block_key_next(key);
		if (++looked % LET_GO_BLOCKS == 0)
			index_let_go(txn);
	}
	return result;
}

int hash_index_drop(struct index_txn *txn, const struct page_set *keep, uint8_t key[HASH_KEY_BYTES],
		    size_t most, uint64_t *dropped)
{
	struct block block;
	size_t looked = 0;
	int result;

	*dropped = 0;
	while (looked < most) {
		size_t before;

		result = next_block(txn, key, &block);
		if (result != R_OK)
			return result;
		before = block.n;
		looked += before;
		if (filter(&block, keep)) {
			*dropped += before - block.n;
			if (block_put(txn, &block) != R_OK)
				return R_FAILED;
		}
		block_key_next(key);
	}
	index_let_go(txn);
	return R_OK;
}
