/* Runs of the hash index as they lie in the index: blocks of sorted entries, and a list of runs. */
#ifndef SNAP_STORE_HASH_BLOCK_H
#define SNAP_STORE_HASH_BLOCK_H

#include "store/hash_index.h"

/* LMDB keeps a value of this length in one page of its own, without a gap. */
#define BLOCK_BYTES_MAX 4080u
#define BLOCK_ENTRY_BYTES HASH_ENTRY_BYTES /* prefix 6, number 6 */
#define BLOCK_ENTRIES (BLOCK_BYTES_MAX / BLOCK_ENTRY_BYTES)
#define PREFIX_MAX ((UINT64_C(1) << 48) - 1)
#define NUMBER_MAX ((UINT64_C(1) << 48) - 1) /* pages beyond are not found by hash */
#define NO_PREFIX UINT64_MAX

struct run {
	uint64_t id;
	uint64_t entries; /* when it was written */
	uint64_t into;	  /* the run it is being merged into; 0: it is not */
};

struct run_list {
	struct run *runs; /* in ascending order of id */
	size_t n;
};

/* Reads all runs, freeing what the list had; list->runs is freed by the caller. */
int run_list_read(struct index_txn *txn, struct run_list *list);
int run_put(struct index_txn *txn, const struct run *run);
int run_del(struct index_txn *txn, uint64_t id);

/* The key of the block that begins with a prefix. */
void block_key(uint8_t key[HASH_KEY_BYTES], uint64_t run, uint64_t prefix);
/* The least key above. */
void block_key_next(uint8_t key[HASH_KEY_BYTES]);

/* Entry `i` of a stored block. */
struct hash_entry block_entry(const uint8_t *stored, size_t i);

/* A block in memory, at the key it has in the index. */
struct block {
	uint8_t key[HASH_KEY_BYTES];
	size_t n;
	struct hash_entry entries[BLOCK_ENTRIES];
};

/* For index_look(): copies what it is shown to the block `arg`. */
int block_copy(const void *key, const void *value, size_t size, void *arg);

/* Writes the block at its key, or deletes that if the block is empty. */
int block_put(struct index_txn *txn, const struct block *block);

/* Appends to a run in ascending order. */
struct run_writer {
	struct index_txn *txn;
	uint64_t run;
	uint64_t last_key; /* prefix the block before begins with */
	struct hash_entry last;
	uint64_t entries;
	struct block block;
};
/* `last_key`: the prefix the last block there begins with, or NO_PREFIX. */
void run_writer_begin(struct run_writer *writer, struct index_txn *txn, uint64_t run,
		      uint64_t last_key);
int run_writer_put(struct run_writer *writer, const struct hash_entry *entry);
int run_writer_end(struct run_writer *writer);

#endif
