#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct candidate {
	struct reap_generation record;
	bool forget;
};

struct forgetting {
	const struct gc_plan *plan;
	bool allow_empty;
	int64_t now_ns; /* CLOCK_REALTIME */
	struct candidate *all;
	size_t n, room;
	uint64_t forgotten, predumps, predumps_forgotten;
};

/* A pre-dump that no take has followed in this time was made in vain. */
#define PREDUMP_NS ((int64_t)24 * 3600 * 1000000000)

/* Whether `gen` is of the lineage of the pre-dump and was committed after it. */
static bool follows(const struct generation *gen, const struct generation *predump)
{
	if (strcmp(gen->lineage, predump->lineage) != 0)
		return false;
	return gen->predump ? gen->number > predump->number
			    : !store_predump_is_newer(predump, gen->number);
}

/* No plan speaks of pre-dumps: each is forgotten when the next take, or pre-dump, is there. */
static void decide_predumps(struct forgetting *f)
{
	f->predumps = 0;
	for (size_t i = 0; i < f->n; i++) {
		const struct generation *gen = &f->all[i].record.gen;
		bool *forget = &f->all[i].forget;

		if (!gen->predump)
			continue;
		f->predumps++;
		*forget = f->now_ns - gen->time_ns > PREDUMP_NS;
		for (size_t k = 0; !*forget && k < f->n; k++)
			*forget = follows(&f->all[k].record.gen, gen);
	}
}

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
	decide_predumps(f);
	return result == R_NOT_FOUND ? R_OK : result;
}

/* The newest generation (or pre-dump, as `gen` is) of its lineage that stays, else (`any`) the
 * newest at all; NULL if none. */
static struct candidate *newest(struct forgetting *f, const struct generation *gen, bool any)
{
	for (size_t i = f->n; i-- > 0;)
		if ((any || !f->all[i].forget) && f->all[i].record.gen.predump == gen->predump &&
		    strcmp(f->all[i].record.gen.lineage, gen->lineage) == 0)
			return &f->all[i];
	return NULL;
}

/* R_NOT_FOUND: there is nothing to forget, and nothing to commit. */
static int forget(struct reap *reap, void *arg)
{
	struct forgetting *f = arg;
	uint64_t last_commit = 0;

	f->forgotten = 0;
	f->predumps_forgotten = 0;
	if (gather(reap_view(reap), f) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < f->n && !f->allow_empty; i++) {
		const struct generation *gen = &f->all[i].record.gen;

		if (f->all[i].forget && !gen->predump && !newest(f, gen, false))
			newest(f, gen, true)->forget = false;
	}
	for (size_t i = 0; i < f->n; i++) {
		const struct reap_generation *record = &f->all[i].record;
		const struct candidate *last;

		if (!f->all[i].forget)
			continue;
		last = newest(f, &record->gen, false);
		if (reap_forget(reap, &record->gen, last ? last->record.gen.number : 0) != R_OK)
			return R_FAILED;
		if (record->commit_txn > last_commit)
			last_commit = record->commit_txn;
		if (record->gen.predump)
			f->predumps_forgotten++;
		else
			f->forgotten++;
	}
	if (f->forgotten + f->predumps_forgotten == 0)
		return R_NOT_FOUND;
	return reap_condemn_again(reap, last_commit);
}

int forget_generations(struct run *run, const struct gc_plan *plan)
{
	static const struct gc_plan nothing;
	struct forgetting f = { .plan = plan ? plan : &nothing,
				.allow_empty = run->options->allow_empty };
	struct timespec now;
	int result;

	clock_gettime(CLOCK_REALTIME, &now);
	f.now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	result = reap_write(run->store, forget, &f);
	run->result->forgotten = f.forgotten;
	run->result->kept = f.n - f.predumps - f.forgotten;
	free(f.all);
	return result == R_NOT_FOUND ? R_OK : result;
}
