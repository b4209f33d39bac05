#include "base/result.h"
#include "gc/gc_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_STEP_NS 20000000L
/* What a run copies at most to detach pages, unless it recompresses: about a second of work. */
#define DETACH_BYTES_MAX ((uint64_t)64 << 20)

/* Not held beyond the marking: its own view would hold up the reclaim. */
static int mark_all(struct run *run)
{
	struct store_view *view;
	int result;

	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = reap_spares(view, &run->spares);
	if (result == R_OK)
		result = tell(run, "marking", 0, 0, PROGRESS_ITEMS);
	if (result == R_OK)
		result = mark_generations(view, &run->marks);
	store_view_close(view);
	return result;
}

int marked_write(struct run *run, int (*fn)(struct reap *reap, void *arg), void *arg)
{
	struct store_view *view;
	int result;

	if (store_view_open(run->store, &view) != R_OK)
		return R_FAILED;
	result = mark_generations(view, &run->marks);
	store_view_close(view);
	return result == R_OK ? reap_write(run->store, fn, arg) : result;
}

int tell(const struct run *run, const char *phase, uint64_t done, uint64_t total,
	 enum progress_unit unit)
{
	return progress_tell(run->options->progress, phase, done, total, unit) ? R_OK : R_FAILED;
}

/* Everything that may go by now. */
static int reclaim_now(struct run *run)
{
	int result;

	run->result->bytes_pending = 0;
	result = reclaim_segments(run);
	if (result == R_OK)
		result = compact_segments(run);
	if (result == R_OK)
		result = free_holes(run);
	if (result == R_OK)
		result = reap_bytes(run->store, &run->result->bytes_freed);
	return result;
}

static int reclaim_waiting(struct run *run)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };
	uint64_t waited = 0;
	int result;

	for (;;) {
		result = reclaim_now(run);
		if (result != R_OK || run->result->bytes_pending == 0 ||
		    waited >= run->options->wait_ns)
			return result;
		result = tell(run, "waiting for takes and readers", waited, run->options->wait_ns,
			      PROGRESS_ITEMS);
		if (result != R_OK)
			return result;
		nanosleep(&step, NULL);
		waited += WAIT_STEP_NS;
	}
}

/* What lives, and what of the rest can go. */
static int look(struct run *run)
{
	int result;

	run->result->bytes_unused = 0;
	result = mark_all(run);
	if (result == R_OK)
		result = measure_packs(run);
	if (result == R_OK)
		result = find_detached(run);
	if (result == R_OK)
		result = drop_hashes(run);
	if (result == R_OK)
		result = condemn_segments(run);
	return result;
}

static void forget_look(struct run *run)
{
	visited_clear(&run->marks.visited);
	page_set_clear(&run->marks.bases);
	page_set_clear(&run->detach);
	memset(&run->marks, 0, sizeof(run->marks));
	free(run->shares);
	run->shares = NULL;
	run->n_shares = 0;
}

/* Frees pages of the bases that only they need; these are dead then, so all is looked at again. */
static int detach_pages(struct run *run)
{
	uint64_t copied = run->copied_bytes;
	int result;

	if (page_set_next(&run->detach, 0, UINT64_MAX) == PAGE_ABSENT)
		return R_OK;
	result = reclaim_segments(run);
	run->detaching = true;
	run->bound_bytes = run->options->max_rewrite_bytes;
	if (!run->options->recompress &&
	    (run->bound_bytes == 0 || run->bound_bytes > DETACH_BYTES_MAX))
		run->bound_bytes = DETACH_BYTES_MAX;
	if (result == R_OK)
		result = compact_segments(run);
	run->bound_bytes = run->options->max_rewrite_bytes;
	run->detaching = false;
	if (result != R_OK || run->copied_bytes == copied)
		return result;
	forget_look(run);
	return look(run);
}

int gc_run(struct store *store, const struct gc_plan *plan, const struct gc_options *options,
	   struct gc_result *result)
{
	struct run run = { .store = store,
			   .options = options,
			   .bound_bytes = options->max_rewrite_bytes,
			   .result = result };
	int outcome;

	memset(result, 0, sizeof(*result));
	outcome = reap_check(store);
	if (outcome == R_OK)
		outcome = forget_generations(&run, plan);
	if (outcome == R_OK)
		outcome = look(&run);
	if (outcome == R_OK)
		outcome = measure_dead(&run, &result->bytes_dead);
	if (outcome == R_OK)
		outcome = detach_pages(&run);
	if (outcome == R_OK)
		outcome = reclaim_waiting(&run);
	if (outcome == R_OK)
		outcome = measure_dead(&run, &result->bytes_dead_left);
	forget_look(&run);
	page_set_clear(&run.damaged);
	return outcome;
}

int gc_forget(struct store *store, const uint64_t *numbers, size_t n,
	      const struct gc_options *options, struct gc_result *result)
{
	struct store_view *view;
	struct gc_plan *plan;
	int outcome;

	memset(result, 0, sizeof(*result));
	if (store_view_open(store, &view) != R_OK)
		return R_FAILED;
	outcome = gc_plan_forget(view, numbers, n, options->allow_empty, &plan);
	store_view_close(view);
	if (outcome != R_OK)
		return outcome;
	outcome = gc_run(store, plan, options, result);
	gc_plan_free(plan);
	return outcome;
}
