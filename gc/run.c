#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <string.h>
#include <time.h>

#define WAIT_STEP_NS 20000000L

static int mark_all(struct store *store, struct marks *marks)
{
	struct store_view *view;
	int result;

	if (store_view_open(store, &view) != R_OK)
		return R_FAILED;
	result = mark_generations(view, marks);
	store_view_close(view); /* or its own reader would hold up the reclaim */
	return result;
}

static int reclaim_waiting(struct store *store, struct marks *marks, uint64_t wait_ns,
			   struct gc_result *result)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };
	uint64_t waited = 0;
	int outcome;

	for (;;) {
		outcome = reclaim_segments(store, marks, result);
		if (outcome == R_OK)
			outcome = free_reclaimed(store, result);
		if (outcome != R_OK || result->bytes_pending == 0 || waited >= wait_ns)
			return outcome;
		nanosleep(&step, NULL);
		waited += WAIT_STEP_NS;
	}
}

int gc_run(struct store *store, const struct gc_plan *plan, const struct gc_options *options,
	   struct gc_result *result)
{
	struct marks marks = { 0 };
	int outcome;

	memset(result, 0, sizeof(*result));
	if (!store->writable) {
		warn("%s was opened for reading only", store->dir);
		return R_FAILED;
	}
	outcome = forget_generations(store, plan, options->allow_empty, result);
	if (outcome == R_OK)
		outcome = mark_all(store, &marks);
	if (outcome == R_OK)
		outcome = condemn_segments(store, &marks, result);
	if (outcome == R_OK)
		outcome = reclaim_waiting(store, &marks, options->wait_ns, result);
	visited_clear(&marks.visited);
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
