/*
 * Runs of about one length are merged, so that there are few to search: at most a handful of each
 * length.  A merge goes on in steps, each a transaction: what has been moved is in the new run, the
 * rest still in the old ones, so a search finds everything at any time.
 */
#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_block.h"

#include <stdlib.h>
#include <string.h>

#define TIER_ENTRIES 4096u /* of the shortest tier; each next one is FANOUT times as long */
#define FANOUT 4u
/*
 * Entries one transaction moves: 150 KiB written.  What it leaves is free for the next transaction
 * but one, so the file grows by two steps and not by the length of the merge.
 */
#define STEP_ENTRIES ((size_t)12 << 10)
#define SOURCES_MAX 16

struct source {
	struct run run;
	struct block block; /* the one at hand, if it has any entries left */
	size_t at;
	bool end;
};

struct step {
	size_t budget;
	bool more; /* there may be more to do */
	struct run into;
	size_t n_sources;
	struct source *sources; /* SOURCES_MAX */
};

static unsigned int tier_of(const struct run *run)
{
	uint64_t limit = TIER_ENTRIES * FANOUT;
	unsigned int tier = 0;

	for (; run->entries >= limit; limit *= FANOUT)
		tier++;
	return tier;
}

/* True if another run is being merged into this one. */
static bool is_growing(const struct run_list *list, uint64_t id)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->runs[i].into == id)
			return true;
	return false;
}

/* Gathers the runs of a tier that has FANOUT of them; false if none has. */
static bool find_tier(const struct run_list *list, struct step *step)
{
	for (unsigned int tier = 0; tier < 32; tier++) {
		step->n_sources = 0;
		for (size_t i = 0; i < list->n && step->n_sources < SOURCES_MAX; i++)
			if (tier_of(&list->runs[i]) == tier && !is_growing(list, list->runs[i].id))
				step->sources[step->n_sources++].run = list->runs[i];
		if (step->n_sources >= FANOUT)
			return true;
	}
	return false;
}

static int begin_merge(struct index_txn *txn, struct step *step)
{
	if (index_meta_get(txn, "next_run", 1, &step->into.id) != R_OK ||
	    index_meta_put(txn, "next_run", step->into.id + 1) != R_OK)
		return R_FAILED;
	step->into.entries = 0;
	for (size_t i = 0; i < step->n_sources; i++) {
		step->sources[i].run.into = step->into.id;
		if (run_put(txn, &step->sources[i].run) != R_OK)
			return R_FAILED;
	}
	return run_put(txn, &step->into);
}

/* Finds the merge under way, or begins one.  R_NOT_FOUND: there is nothing to merge. */
static int find_job(struct index_txn *txn, struct step *step)
{
	struct run_list list = { 0 };
	uint64_t into = 0;
	int result;

	result = run_list_read(txn, &list);
	for (size_t i = 0; i < list.n && !into; i++)
		into = list.runs[i].into;
	step->n_sources = 0;
	for (size_t i = 0; into && i < list.n; i++) {
		if (list.runs[i].into == into && step->n_sources < SOURCES_MAX)
			step->sources[step->n_sources++].run = list.runs[i];
		if (list.runs[i].id == into)
			step->into = list.runs[i];
	}
	if (result == R_OK && !into)
		result = find_tier(&list, step) ? begin_merge(txn, step) : R_NOT_FOUND;
	free(list.runs);
	return result;
}

/* Has the source's next entry at hand, or notes its end. */
static int load(struct index_txn *txn, struct source *source)
{
	uint8_t key[HASH_KEY_BYTES];
	int result;

	block_key(key, source->run.id, 0);
	result = index_look(txn, DB_HASH, key, sizeof(key), false, block_copy, &source->block);
	if (result == R_FAILED)
		return R_FAILED;
	source->at = 0;
	source->end = result == R_NOT_FOUND || get_be64(source->block.key) != source->run.id;
	return R_OK;
}

static int same_key(const void *key, const void *value, size_t size, void *arg)
{
	(void)value;
	(void)size;
	return memcmp(key, arg, HASH_KEY_BYTES) == 0 ? R_OK : R_NOT_FOUND;
}

/* Takes the blocks that have been moved out of the old run, so that the next one comes first. */
static int consume(struct index_txn *txn, struct source *source)
{
	struct block rest = { .n = source->block.n - source->at };
	int result;

	if (index_del(txn, DB_HASH, source->block.key, HASH_KEY_BYTES) != R_OK)
		return R_FAILED;
	if (rest.n == 0)
		return R_OK;
	memcpy(rest.entries, source->block.entries + source->at, rest.n * sizeof(rest.entries[0]));
	block_key(rest.key, source->run.id, rest.entries[0].prefix);
	/* The next block may begin with the prefix this one ends with.  It stays; what is left here
	 * was not found behind it anyway. */
	result = index_look(txn, DB_HASH, rest.key, HASH_KEY_BYTES, false, same_key, rest.key);
	return result == R_NOT_FOUND ? block_put(txn, &rest) : result;
}

static struct source *least(struct step *step)
{
	struct source *least = NULL;

	for (size_t i = 0; i < step->n_sources; i++) {
		struct source *source = &step->sources[i];
		const struct hash_entry *entry = &source->block.entries[source->at];

		if (!source->end &&
		    (!least || entry->prefix < least->block.entries[least->at].prefix))
			least = source;
	}
	return least;
}

static int last_key(struct index_txn *txn, uint64_t run, uint64_t *prefix)
{
	uint8_t key[HASH_KEY_BYTES];
	struct block block;
	int result;

	block_key(key, run, PREFIX_MAX);
	result = index_look(txn, DB_HASH, key, sizeof(key), true, block_copy, &block);
	*prefix = NO_PREFIX;
	if (result == R_OK && get_be64(block.key) == run)
		*prefix = get_be64(block.key + 8);
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* Moves up to the budget. */
static int move(struct index_txn *txn, struct step *step, struct run_writer *writer)
{
	struct source *source;

	for (size_t moved = 0; moved < step->budget && (source = least(step)); moved++) {
		if (run_writer_put(writer, &source->block.entries[source->at++]) != R_OK)
			return R_FAILED;
		if (source->at < source->block.n)
			continue;
		if (consume(txn, source) != R_OK || load(txn, source) != R_OK)
			return R_FAILED;
	}
	for (size_t i = 0; i < step->n_sources; i++)
		if (!step->sources[i].end && step->sources[i].at > 0 &&
		    consume(txn, &step->sources[i]) != R_OK)
			return R_FAILED;
	return run_writer_end(writer);
}

static int merge_step(struct index_txn *txn, void *arg)
{
	struct step *step = arg;
	struct run_writer writer;
	uint64_t prefix;
	int result;

	step->more = false;
	result = find_job(txn, step);
	if (result != R_OK)
		return result;
	for (size_t i = 0; i < step->n_sources; i++)
		if (load(txn, &step->sources[i]) != R_OK)
			return R_FAILED;
	if (last_key(txn, step->into.id, &prefix) != R_OK)
		return R_FAILED;
	run_writer_begin(&writer, txn, step->into.id, prefix);
	if (move(txn, step, &writer) != R_OK)
		return R_FAILED;
	step->into.entries += writer.entries;
	if (run_put(txn, &step->into) != R_OK)
		return R_FAILED;
	for (size_t i = 0; !least(step) && i < step->n_sources; i++)
		if (run_del(txn, step->sources[i].run.id) != R_OK)
			return R_FAILED;
	step->more = true;
	/* The next step goes through other blocks. */
	index_let_go(txn);
	return R_OK;
}

int hash_index_merge(struct index *index, size_t budget)
{
	struct step step = { .sources = calloc(SOURCES_MAX, sizeof(*step.sources)) };
	int result = R_OK;

	if (!step.sources) {
		warn("out of memory");
		return R_FAILED;
	}
	do {
		step.budget = budget < STEP_ENTRIES ? budget : STEP_ENTRIES;
		result = index_write(index, merge_step, &step);
		budget -= step.budget;
	} while (result == R_OK && step.more && budget > 0);
	free(step.sources);
	return result == R_NOT_FOUND ? R_OK : result;
}
