#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <stdlib.h>
#include <string.h>

struct candidate {
	struct reap_generation record;
	bool forget;
};

struct forgetting {
	const struct gc_plan *plan;
	bool allow_empty;
	struct candidate *all;
	size_t n, room;
	uint64_t forgotten;
};

static int gather(struct store_view *view, struct forgetting *f)
{
	struct reap_generation record;
	uint64_t next = 0;
	size_t at = 0;
	int result;

	f->n = 0;
	while ((result = reap_generation_next(view, next, &record)) == R_OK) {
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

/* R_NOT_FOUND: there is nothing to forget, and nothing to commit. */
static int forget(struct reap *reap, void *arg)
{
	struct forgetting *f = arg;
	uint64_t last_commit = 0;

	f->forgotten = 0;
	if (gather(reap_view(reap), f) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < f->n && !f->allow_empty; i++) {
		const char *lineage = f->all[i].record.gen.lineage;

		if (f->all[i].forget && !newest(f, lineage, false))
			newest(f, lineage, true)->forget = false;
	}
	for (size_t i = 0; i < f->n; i++) {
		const struct reap_generation *record = &f->all[i].record;
		const struct candidate *last;

		if (!f->all[i].forget)
			continue;
		last = newest(f, record->gen.lineage, false);
		if (reap_forget(reap, &record->gen, last ? last->record.gen.number : 0) != R_OK)
			return R_FAILED;
		if (record->commit_txn > last_commit)
			last_commit = record->commit_txn;
		f->forgotten++;
	}
	if (f->forgotten == 0)
		return R_NOT_FOUND;
	return reap_condemn_again(reap, last_commit);
}

int forget_generations(struct run *run, const struct gc_plan *plan)
{
	static const struct gc_plan nothing;
	struct forgetting f = { .plan = plan ? plan : &nothing,
				.allow_empty = run->options->allow_empty };
	int result;

	result = reap_write(run->store, forget, &f);
	run->result->forgotten = f.forgotten;
	run->result->kept = f.n - f.forgotten;
	free(f.all);
	return result == R_NOT_FOUND ? R_OK : result;
}
