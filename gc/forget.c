#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <stdlib.h>
#include <string.h>

struct candidate {
	struct generation_record record;
	bool forget;
};

struct forgetting {
	const struct gc_plan *plan;
	bool allow_empty;
	struct candidate *all;
	size_t n, room;
	uint64_t forgotten;
};

static int gather(struct index_txn *txn, struct forgetting *f)
{
	struct generation_record record;
	uint64_t next = 0;
	size_t at = 0;
	int result;

	f->n = 0;
	while ((result = generation_ceiling(txn, next, &record)) == R_OK) {
		next = record.gen.number + 1;
		if (f->n == f->room) {
			size_t room = f->room ? f->room * 2 : 64;
			struct candidate *more = realloc(f->all, room * sizeof(*more));

			if (!more) {
				warn("out of memory");
				return R_FAILED;
			}
			f->all = more;
			f->room = room;
		}
		/* Both are in ascending order. */
		while (at < f->plan->n && f->plan->items[at].gen.number < record.gen.number)
			at++;
		f->all[f->n].record = record;
		f->all[f->n++].forget = !record.gen.pinned && at < f->plan->n &&
					f->plan->items[at].gen.number == record.gen.number &&
					!f->plan->items[at].kept;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

/* The newest generation of the lineage that stays, else (`any`) the newest at all; NULL if none. */
static struct candidate *newest(struct forgetting *f, const char *lineage, bool any)
{
	for (size_t i = f->n; i-- > 0;)
		if ((any || !f->all[i].forget) &&
		    strcmp(f->all[i].record.gen.lineage, lineage) == 0)
			return &f->all[i];
	return NULL;
}

static int set_lineage(struct index_txn *txn, struct forgetting *f, const char *lineage)
{
	const struct candidate *last = newest(f, lineage, false);
	uint8_t raw[8];
	int result;

	if (last) {
		put_le64(raw, last->record.gen.number);
		return index_put(txn, DB_LINEAGE, lineage, strlen(lineage), raw, sizeof(raw), true);
	}
	result = index_del(txn, DB_LINEAGE, lineage, strlen(lineage));
	return result == R_NOT_FOUND ? R_OK : result;
}

/*
 * Condemned segments older than a generation that is forgotten now may have been referred to by it,
 * and through it by a take that is still at work; they count as condemned from now.
 */
static int condemn_again(struct index_txn *txn, uint64_t commit_txn)
{
	uint8_t raw[CONDEMNED_RECORD_BYTES];
	struct condemned_record record;
	uint64_t next = 0, first;
	int result;

	while ((result = index_ceiling(txn, DB_CONDEMNED, next, &first, raw, sizeof(raw))) ==
	       R_OK) {
		next = first + 1;
		condemned_record_decode(raw, &record);
		if (record.state != CONDEMNED_WAITING || record.txn >= commit_txn)
			continue;
		record.txn = index_txn_id(txn);
		condemned_record_encode(&record, raw);
		if (index_put_u64(txn, DB_CONDEMNED, first, raw, sizeof(raw)) != R_OK)
			return R_FAILED;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

/* R_NOT_FOUND: there is nothing to forget, and nothing to commit. */
static int forget(struct index_txn *txn, void *arg)
{
	struct forgetting *f = arg;
	uint64_t last_commit = 0;

	f->forgotten = 0;
	if (gather(txn, f) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < f->n && !f->allow_empty; i++) {
		const char *lineage = f->all[i].record.gen.lineage;

		if (f->all[i].forget && !newest(f, lineage, false))
			newest(f, lineage, true)->forget = false;
	}
	for (size_t i = 0; i < f->n; i++) {
		const struct generation_record *record = &f->all[i].record;

		if (!f->all[i].forget)
			continue;
		if (index_del_u64(txn, DB_GENERATION, record->gen.number) != R_OK ||
		    set_lineage(txn, f, record->gen.lineage) != R_OK)
			return R_FAILED;
		if (record->commit_txn > last_commit)
			last_commit = record->commit_txn;
		f->forgotten++;
	}
	if (f->forgotten == 0)
		return R_NOT_FOUND;
	return condemn_again(txn, last_commit);
}

int forget_generations(struct store *store, const struct gc_plan *plan, bool allow_empty,
		       struct gc_result *result)
{
	static const struct gc_plan nothing;
	struct forgetting f = { .plan = plan ? plan : &nothing, .allow_empty = allow_empty };
	int outcome;

	outcome = index_write(store->index, forget, &f);
	result->forgotten = f.forgotten;
	result->kept = f.n - f.forgotten;
	free(f.all);
	return outcome == R_NOT_FOUND ? R_OK : outcome;
}
