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

int store_generation(struct store_view *view, uint64_t number, struct generation *gen)
{
	struct generation_record record;
	int result;

	result = generation_read(view->txn, number, &record);
	if (result == R_OK)
		*gen = record.gen;
	return result;
}

int store_generation_latest(struct store_view *view, const char *lineage, struct generation *gen)
{
	uint8_t raw[8];
	int result;

	if (*lineage == '\0' || strlen(lineage) >= LINEAGE_NAME_MAX)
		return R_NOT_FOUND;
	result = index_get(view->txn, DB_LINEAGE, lineage, strlen(lineage), raw, sizeof(raw));
	if (result != R_OK)
		return result;
	result = store_generation(view, get_le64(raw), gen);
	if (result == R_NOT_FOUND || (result == R_OK && strcmp(gen->lineage, lineage) != 0)) {
		index_damaged("the newest generation of a lineage");
		return R_DAMAGED;
	}
	return result;
}

int store_generation_each(struct store_view *view,
			  int (*fn)(const struct generation *gen, void *arg), void *arg)
{
	struct generation_record record;
	uint64_t next = 0;
	int result;

	while ((result = generation_ceiling(view->txn, next, &record)) == R_OK) {
		result = fn(&record.gen, arg);
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
