/*
 * Which ranges there are and what of them has pages, read by all processors: the caller's thread
 * describes tasks from the first on, while others look at pages and read texts of the last ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crew.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/ahead.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/dump.h"
#include "engine/proc/pagemap.h"

int dump_vma_add(struct dump_ctx *ctx, struct dump_task *t, VmaEntry **entry)
{
	MmEntry *mm = &t->mm;

	*entry = dump_alloc(ctx, sizeof(**entry));
	if (!*entry)
		return R_FAILED;
	if (mm->n_vmas == t->room_vmas) {
		size_t more = t->room_vmas ? t->room_vmas * 2 : 64;
		VmaEntry **list = dump_alloc(ctx, more * sizeof(*list));

		if (!list)
			return R_FAILED;
		if (mm->n_vmas)
			memcpy(list, mm->vmas, mm->n_vmas * sizeof(*list));
		mm->vmas = list;
		t->room_vmas = more;
	}
	mm->vmas[mm->n_vmas++] = *entry;
	return R_OK;
}

/* Guards lie within ranges; they follow them in the list as ranges of their own. */
static int guards(struct dump_ctx *ctx, struct dump_task *t)
{
	for (size_t i = 0; i < t->survey.n; i++) {
		VmaEntry *entry;

		if (t->survey.regions[i].kind != SURVEY_GUARD)
			continue;
		if (dump_vma_add(ctx, t, &entry) != R_OK)
			return R_FAILED;
		vma_entry__init(entry);
		entry->start = t->survey.regions[i].start;
		entry->end = t->survey.regions[i].end;
		entry->fd = -1;
		entry->status = VMA_STATUS_GUARD;
	}
	return R_OK;
}

/* All ranges but those of the kernel. */
static int survey(const struct dump_ctx *ctx, struct dump_task *t)
{
	struct pagemap map;
	int rc = pagemap_open(t->task->pid, &map);

	for (size_t i = 0; rc == R_OK && i < t->maps.n;) {
		const struct vma *vma = &t->maps.vmas[i];
		enum survey_trust trust = track_trust(ctx->track, vma);
		uint64_t start = vma->start;

		if (dump_kernel_status(vma)) {
			i++;
			continue;
		}
		/* Many small ranges in one call.  What lies between them has no pages, but would
		 * count as kept. */
		do
			t->shares_pages |= t->maps.vmas[i].shares_pages;
		while (++i < t->maps.n && !dump_kernel_status(&t->maps.vmas[i]) &&
		       track_trust(ctx->track, &t->maps.vmas[i]) == trust &&
		       (trust == SURVEY_UNTRACKED ||
			t->maps.vmas[i].start == t->maps.vmas[i - 1].end));
		rc = survey_range(&t->survey, &map, start, t->maps.vmas[i - 1].end, trust);
	}
	pagemap_close(&map);
	return rc;
}

static void read_ranges(size_t i, unsigned int worker, void *arg)
{
	struct dump_ctx *ctx = arg;
	struct dump_task *t = &ctx->tasks[i];

	(void)worker;
	t->looked = t->task->zombie ? R_OK : maps_read(t->task->pid, &t->maps);
}

/* First what nobody else does, then the texts of tasks that are described last. */
static void look(size_t i, unsigned int worker, void *arg)
{
	struct dump_ctx *ctx = arg;
	struct dump_task *t = &ctx->tasks[i < ctx->n_tasks ? i : 0];

	(void)worker;
	if (i >= ctx->n_tasks)
		ahead_read(2 * ctx->n_tasks - 1 - i);
	else if (!t->task->zombie)
		t->looked = survey(ctx, t);
}

static int first_failure(const struct dump_ctx *ctx)
{
	for (size_t i = 0; i < ctx->n_tasks; i++)
		if (ctx->tasks[i].looked != R_OK)
			return ctx->tasks[i].looked;
	return R_OK;
}

static void read_ahead(struct dump_ctx *ctx)
{
	pid_t *pids = calloc(ctx->n_tasks, sizeof(*pids));

	for (size_t i = 0; pids && i < ctx->n_tasks; i++)
		pids[i] = ctx->tasks[i].task->pid;
	if (pids)
		ahead_begin(pids, ctx->n_tasks);
	free(pids);
}

int dump_ranges_begin(struct dump_ctx *ctx)
{
	int rc;

	if (!ctx->readers)
		ctx->readers = crew_new(CREW_MAX);
	if (!ctx->readers) {
		warn("no memory to describe the target; free some and try again");
		return R_FAILED;
	}
	crew_run(ctx->readers, ctx->n_tasks, read_ranges, ctx);
	rc = first_failure(ctx);
	if (rc != R_OK)
		return rc;
	for (size_t i = 0; i < ctx->n_tasks; i++)
		if (!ctx->tasks[i].task->zombie)
			track_look(ctx->track, ctx->tasks[i].task->pid, &ctx->tasks[i].maps);
	read_ahead(ctx);
	crew_begin(ctx->readers, 2 * ctx->n_tasks, look, ctx);
	return R_OK;
}

int dump_ranges_finish(struct dump_ctx *ctx)
{
	int rc;

	crew_finish(ctx->readers);
	rc = first_failure(ctx);
	for (size_t i = 0; rc == R_OK && i < ctx->n_tasks; i++)
		if (!ctx->tasks[i].task->zombie)
			rc = guards(ctx, &ctx->tasks[i]);
	return rc;
}
