#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void damaged_record(uint64_t number)
{
	char what[64];

	snprintf(what, sizeof(what), "the record of generation %" PRIu64, number);
	index_damaged(what);
}

int generation_read(struct index_txn *txn, uint64_t number, struct generation_record *record)
{
	uint8_t raw[GENERATION_RECORD_BYTES];
	int result;

	result = index_get_u64(txn, DB_GENERATION, number, raw, sizeof(raw));
	if (result == R_OK && !generation_record_whole(number, raw)) {
		damaged_record(number);
		return R_DAMAGED;
	}
	if (result == R_OK)
		generation_record_decode(number, raw, record);
	return result;
}

int generation_next_numbers(struct index_txn *txn, uint64_t *generation, uint64_t *predump)
{
	return index_meta_get(txn, "next_generation", 1, generation) == R_OK
		   ? index_meta_get(txn, "next_predump", PREDUMP_FIRST + 1, predump)
		   : R_FAILED;
}

int generation_number(struct store *store, struct index_txn *txn, struct generation *gen)
{
	bool apart = gen->predump && store->version >= FORMAT_PREDUMPS;
	uint64_t generation, predump;

	if (generation_next_numbers(txn, &generation, &predump) != R_OK)
		return R_FAILED;
	gen->number = apart ? predump : generation;
	gen->before = apart ? generation : 0;
	return index_meta_put(txn, apart ? "next_predump" : "next_generation", gen->number + 1);
}

int generation_write(struct index_txn *txn, const struct generation_record *record)
{
	uint8_t raw[GENERATION_RECORD_BYTES];

	generation_record_encode(record, raw);
	return index_put_u64(txn, DB_GENERATION, record->gen.number, raw, sizeof(raw));
}

int generation_ceiling(struct index_txn *txn, uint64_t number, struct generation_record *record)
{
	uint8_t raw[GENERATION_RECORD_BYTES];
	uint64_t found;
	int result;

	/* A damaged one is told of and passed over: it hides no others. */
	while ((result = index_ceiling(txn, DB_GENERATION, number, &found, raw, sizeof(raw))) ==
	       R_OK) {
		if (generation_record_whole(found, raw)) {
			generation_record_decode(found, raw, record);
			return R_OK;
		}
		damaged_record(found);
		if (found == UINT64_MAX)
			return R_NOT_FOUND;
		number = found + 1;
	}
	return result;
}

/* Pre-dumps have keys of their own, which are no names. */
#define PREDUMP_KEY '\1'

static size_t lineage_key(const char *lineage, bool predump, char key[LINEAGE_NAME_MAX + 1])
{
	size_t len = strlen(lineage);

	key[0] = PREDUMP_KEY;
	memcpy(key + predump, lineage, len);
	return len + predump;
}

int generation_set_newest(struct index_txn *txn, const struct generation *gen, uint64_t number)
{
	char key[LINEAGE_NAME_MAX + 1];
	size_t len = lineage_key(gen->lineage, gen->predump, key);
	uint8_t raw[8];

	put_le64(raw, number);
	if (number)
		return index_put(txn, DB_LINEAGE, key, len, raw, sizeof(raw), true);
	return index_del(txn, DB_LINEAGE, key, len) == R_FAILED ? R_FAILED : R_OK;
}

int store_generation(struct store_view *view, uint64_t number, struct generation *gen)
{
	struct generation_record record;
	int result;

	result = generation_read(view->txn, number, &record);
	if (result == R_OK && record.gen.predump)
		return R_NOT_FOUND;
	if (result == R_OK)
		*gen = record.gen;
	return result;
}

static int latest(struct store_view *view, const char *lineage, bool predump,
		  struct generation *gen)
{
	struct generation_record record;
	char key[LINEAGE_NAME_MAX + 1];
	uint8_t raw[8];
	int result;

	if (*lineage == '\0' || *lineage == PREDUMP_KEY || strlen(lineage) >= LINEAGE_NAME_MAX)
		return R_NOT_FOUND;
	result = index_get(view->txn, DB_LINEAGE, key, lineage_key(lineage, predump, key), raw,
			   sizeof(raw));
	if (result != R_OK)
		return result;
	result = generation_read(view->txn, get_le64(raw), &record);
	if (result == R_NOT_FOUND || (result == R_OK && (strcmp(record.gen.lineage, lineage) != 0 ||
							 record.gen.predump != predump))) {
		index_damaged("the newest generation of a lineage");
		return R_DAMAGED;
	}
	if (result == R_OK)
		*gen = record.gen;
	return result;
}

int store_generation_latest(struct store_view *view, const char *lineage, struct generation *gen)
{
	return latest(view, lineage, false, gen);
}

int store_predump_latest(struct store_view *view, const char *lineage, struct generation *gen)
{
	return latest(view, lineage, true, gen);
}

bool store_predump_is_newer(const struct generation *predump, uint64_t generation)
{
	/* Before they were counted apart, they had numbers of generations. */
	return (predump->before ? predump->before : predump->number) > generation;
}

bool store_number_is_apart(uint64_t number)
{
	return number >= PREDUMP_FIRST;
}

uint64_t store_number_shown(uint64_t number)
{
	return store_number_is_apart(number) ? number - PREDUMP_FIRST : number;
}

int store_generation_each(struct store_view *view,
			  int (*fn)(const struct generation *gen, void *arg), void *arg)
{
	struct generation_record record;
	uint64_t next = 0;
	int result;

	while ((result = generation_ceiling(view->txn, next, &record)) == R_OK) {
		result = record.gen.predump ? 0 : fn(&record.gen, arg);
		if (result)
			return result;
		next = record.gen.number + 1;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

struct pin {
	uint64_t number;
	bool pinned;
};

static int set_pin(struct index_txn *txn, void *arg)
{
	const struct pin *pin = arg;
	struct generation_record record;
	int result;

	result = generation_read(txn, pin->number, &record);
	if (result == R_OK && record.gen.predump)
		return R_NOT_FOUND;
	if (result != R_OK)
		return result;
	record.gen.pinned = pin->pinned;
	return generation_write(txn, &record);
}

int store_generation_pin(struct store *store, uint64_t number, bool pinned)
{
	struct pin pin = { number, pinned };
	int result;

	result = index_write(store->index, set_pin, &pin);
	if (result == R_NOT_FOUND)
		warn("no generation %" PRIu64 " in %s: see snap ls", number, store->dir);
	return result;
}
