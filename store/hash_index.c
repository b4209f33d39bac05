#include "store/hash_index.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_block.h"
#include "store/hash_filter.h"

#include <stdlib.h>
#include <string.h>

/* 16 MiB of blocks: what a pass over all of them holds in memory at once. */
#define LET_GO_BLOCKS 4096

/* 32 MiB of blocks may be mapped by searching; the kernel maps 16 pages where one is looked at. */
#define MAPPED_BLOCKS_MAX 8192u
#define MAPPED_AT_ONCE 16u
/* Who reads blocks from the file still goes through the table's leaves in the map, one for 100
 * blocks or so and each with what is around it: 64 MiB for this many blocks, and for this many
 * leaves. */
#define LEAF_BLOCKS_MAX 98304u
#define LEAVES_AT_ONCE 1024u
/* A block read from the file takes as long as this many entries put into a filter: 2 us. */
#define ENTRIES_PER_READ 512u

/* What a view searches, the newest first. */
struct hash_runs {
	bool known;
	struct run_list list;
	uint64_t blocks;  /* of all runs */
	uint64_t looked;  /* blocks looked at in the map */
	uint64_t read;	  /* blocks read from the file */
	uint64_t let_go;  /* `read` when the map was let go of */
	bool filter_made; /* or seen that it cannot be */
	struct hash_filter *filter;
};

static uint64_t mapped_blocks_wanted;

void hash_index_set_mapped_blocks(uint64_t blocks)
{
	mapped_blocks_wanted = blocks;
}

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
	hash_filter_free(runs->filter);
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

static enum sweep add_block(const void *key, const void *value, size_t size, void *arg)
{
	struct hash_filter *filter = arg;

	(void)key;
	for (size_t i = 0; i < size / BLOCK_ENTRY_BYTES; i++)
		hash_filter_add(filter, block_entry(value, i).prefix);
	return SWEEP_KEEP;
}

/* Without memory for it, it does without. */
static int make_filter(struct index_txn *txn, struct hash_runs *runs)
{
	uint8_t key[HASH_KEY_BYTES] = { 0 };
	int result = R_OK;

	runs->filter_made = true;
	runs->filter = hash_filter_new(runs->blocks * BLOCK_ENTRIES);
	while (runs->filter && result == R_OK) {
		result = index_sweep(txn, DB_HASH, key, sizeof(key), LET_GO_BLOCKS, add_block,
				     runs->filter);
		index_let_go(txn);
	}
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* Tells in `*beside` how to go on, and counts what that will look at. */
static int choose_way(struct index_txn *txn, struct hash_runs *runs, bool *beside)
{
	uint64_t most = mapped_blocks_wanted ? mapped_blocks_wanted : MAPPED_BLOCKS_MAX;

	*beside = false;
	if (!runs->known && (run_list_read(txn, &runs->list) != R_OK ||
			     index_count(txn, DB_HASH, &runs->blocks) != R_OK))
		return R_FAILED;
	runs->known = true;
	if (runs->blocks <= most)
		return R_OK;
	if (runs->looked < most / MAPPED_AT_ONCE) {
		runs->looked += runs->list.n;
		return R_OK;
	}
	*beside = true;
	if (runs->blocks > LEAF_BLOCKS_MAX && runs->read - runs->let_go >= LEAVES_AT_ONCE) {
		runs->let_go = runs->read;
		index_let_go(txn);
	}
	if (!runs->filter_made && runs->read > runs->blocks * BLOCK_ENTRIES / ENTRIES_PER_READ)
		return make_filter(txn, runs);
	return R_OK;
}

int hash_index_find(struct index_txn *txn, struct hash_runs *runs, const uint8_t hash[HASH_BYTES],
		    page_no *numbers, size_t room, size_t *n)
{
	struct search search = { .prefix = hash_prefix(hash), .numbers = numbers, .room = room };
	bool beside;

	*n = 0;
	if (choose_way(txn, runs, &beside) != R_OK)
		return R_FAILED;
	if (runs->filter && !hash_filter_may_have(runs->filter, search.prefix))
		return R_OK;
	for (size_t left = runs->list.n; left > 0 && search.n < room;) {
		size_t some = left < RUNS_AT_ONCE ? left : RUNS_AT_ONCE;

		for (size_t i = 0; i < some; i++)
			block_key(search.keys[i], runs->list.runs[--left].id, search.prefix);
		if (index_look_floors(txn, DB_HASH, search.keys, HASH_KEY_BYTES, some, beside,
				      search_block, &search) == R_FAILED)
			return R_FAILED;
		runs->read += beside ? some : 0;
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
