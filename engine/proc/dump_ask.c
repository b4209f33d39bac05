/* Has every task asked what only it can ask, several at a time. */
#include "base/result.h"
#include "engine/proc/dump.h"
#include "engine/proc/phases.h"
#include "engine/proc/trace_internal.h"

/* False, after naming it, if no call can be made within the task. */
static bool can_ask(struct dump_ctx *ctx, const struct dump_task *t)
{
	for (size_t i = 0; i < t->task->thread_count; i++) {
		if (!t->task->threads[i]->seccomp_live)
			continue;
		dump_refuse(ctx, t->task->pid,
			    "its seccomp filter cannot be suspended here (that "
			    "needs CAP_SYS_ADMIN)");
		return false;
	}
	return true;
}

/* The site is closed by end() if there is one; without there is nothing to do. */
static int begin(struct dump_ctx *ctx, struct dump_task *t)
{
	int rc;

	if (!can_ask(ctx, t))
		return R_OK;
	phase_enter(PHASE_SITE);
	rc = inject_site_find_in(t->task->threads[0], &t->maps, &t->site);
	phase_enter(PHASE_CALLS);
	if (rc != R_OK)
		return dump_count_refusal(ctx, rc);
	rc = dump_remote_begin(ctx, t, 0);
	if (rc != R_OK)
		inject_site_close(&t->site);
	return rc;
}

static int gather(struct dump_task *t)
{
	return t->asking ? dump_remote_gather(t, 0) : R_OK;
}

static int worse(int rc, int other)
{
	return rc == R_OK ? other : rc;
}

/* `rc` is what came of it so far. */
static int end(struct dump_ctx *ctx, struct dump_task *t, int rc)
{
	if (!t->asking)
		return rc;
	rc = worse(rc, dump_remote_end(ctx, t, 0));
	for (size_t i = 1; rc == R_OK && i < t->task->thread_count; i++) {
		rc = dump_remote_begin(ctx, t, i);
		if (rc != R_OK)
			break;
		rc = dump_remote_gather(t, i);
		rc = worse(rc, dump_remote_end(ctx, t, i));
	}
	phase_enter(PHASE_SITE);
	rc = worse(rc, inject_site_close(&t->site));
	phase_enter(PHASE_CALLS);
	return rc;
}

/* Two tasks in one address space would write to the same place. */
static size_t list(const struct dump_ctx *ctx, struct dump_task **tasks)
{
	size_t n = 0;

	for (size_t i = 0; i < ctx->n_tasks; i++)
		if (dump_has_own_space(ctx, &ctx->tasks[i]))
			tasks[n++] = &ctx->tasks[i];
	return n;
}

/*
 * While one thread makes its calls, which it does on another processor, the next one is got ready
 * and the one before goes to its place.  After a failure those under way are still brought back.
 */
int dump_ask_tasks(struct dump_ctx *ctx)
{
	struct dump_task **tasks = dump_alloc(ctx, ctx->n_tasks * sizeof(struct dump_task *));
	size_t n = tasks ? list(ctx, tasks) : 0, begun = 0;
	/* One clock for all waits: to set one for each costs more than most of them. */
	int rc = tasks ? trace_ticks_begin() : R_FAILED;

	if (rc != R_OK)
		return rc;
	for (size_t i = 0; i < n + 2; i++) {
		if (rc == R_OK && i < n) {
			rc = begin(ctx, tasks[i]);
			begun = i + 1;
		}
		if (i >= 1 && i - 1 < begun)
			rc = worse(rc, gather(tasks[i - 1]));
		if (i >= 2 && i - 2 < begun)
			rc = end(ctx, tasks[i - 2], rc);
	}
	trace_ticks_end();
	return rc;
}
