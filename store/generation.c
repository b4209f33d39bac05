#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store_internal.h"

#include <inttypes.h>
#include <string.h>

int generation_read(struct index_txn *txn, uint64_t number, struct generation_record *record)
{
	uint8_t raw[GENERATION_RECORD_BYTES];
	int result;

	result = index_get_u64(txn, DB_GENERATION, number, raw, sizeof(raw));
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

	result = index_ceiling(txn, DB_GENERATION, number, &found, raw, sizeof(raw));
	if (result == R_OK)
		generation_record_decode(found, raw, record);
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
	return store_generation(view, get_le64(raw), gen);
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
