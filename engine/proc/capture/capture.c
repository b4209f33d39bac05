#include "engine/proc/capture/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/capture/clone.h"
#include "engine/proc/capture/limits.h"
#include "engine/proc/capture/witness.h"
#include "engine/proc/dump.h"
#include "store/store.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/*
 * Copying takes about 0.1 to 0.3 ms a MiB, a clone 0.025 ms a MiB and 0.5 ms for the calls; but
 * each page the target writes while there is a clone costs it a page fault more.
 */
#define COPY_TREE_BYTES ((uint64_t)16 << 20)
#define COPY_TASK_BYTES ((uint64_t)2 << 20)
#define CLONE_IS_CHEAPER_BY 8
/* Ranges a clone lacks that may be read aside; a task with more of these is copied. */
#define ASIDE_MAX_BYTES ((uint64_t)64 << 20)

struct captured {
	struct dump_task *t;
	pid_t pid;
	uint64_t bytes;	     /* of its own, as far as it has them alone */
	uint64_t read_bytes; /* of these, not known otherwise */
	struct clone *clone; /* NULL: copied, or that of `owner` */
	size_t owner;	     /* the first task with the same address space: itself, usually */
	struct capture_aside *asides;
	size_t n_asides;
	struct witness *witness; /* with verify_tracking: what the clone has to give */
};

struct capture {
	struct dump_ctx *ctx;
	struct captured *tasks;
	size_t n;
	struct capture_summary summary;
};

bool capture_lacks(const VmaEntry *vma)
{
	return vma->has_madv && vma->madv & (1ull << MADV_DONTFORK | 1ull << MADV_WIPEONFORK);
}

static int add_aside(struct captured *c, const struct survey_region *region, uint64_t *total)
{
	struct capture_aside *more = reallocarray(c->asides, c->n_asides + 1, sizeof(*more));
	size_t len = region->end - region->start;

	if (more)
		c->asides = more;
	*total += len;
	if (*total > ASIDE_MAX_BYTES)
		return R_BUSY;
	if (!more || !(more[c->n_asides].pages = malloc(len))) {
		warn("no memory for a copy of pages; free some and try again");
		return R_FAILED;
	}
	more[c->n_asides].start = region->start;
	more[c->n_asides].end = region->end;
	c->n_asides++;
	return dump_read(c->pid, region->start, more[c->n_asides - 1].pages, len);
}

static int read_aside(const struct dump_ctx *ctx, struct captured *c)
{
	uint64_t total = 0;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < c->t->mm.n_vmas; i++) {
		const VmaEntry *vma = c->t->mm.vmas[i];
		struct survey_region region;
		uint64_t start = vma->start;
		size_t at = 0;

		if (!capture_lacks(vma) || !dump_has_own_pages(vma))
			continue;
		while (rc == R_OK && survey_next(&c->t->survey, &at, start, vma->end, &region)) {
			start = region.end;
			if (dump_reads(ctx, &region))
				rc = add_aside(c, &region, &total);
		}
	}
	return rc;
}

static void drop_asides(struct captured *c)
{
	for (size_t i = 0; i < c->n_asides; i++)
		free(c->asides[i].pages);
	free(c->asides);
	c->asides = NULL;
	c->n_asides = 0;
}

static int make_clone(struct captured *c, char reason[CLONE_REASON_BYTES])
{
	struct tracee *th = c->t->task->threads[0];
	struct inject_site *site = &c->t->site;
	int rc = inject_site_find_in(th, &c->t->maps, site), end;

	if (rc != R_OK)
		return rc == R_UNSUPPORTED ? R_FAILED : rc;
	rc = inject_begin(th, site);
	if (rc == R_OK) {
		rc = clone_make(th, site, &c->clone, NULL, reason);
		end = inject_end(th, site);
		rc = end == R_OK ? rc : end;
	}
	end = inject_site_close(site);
	return end == R_OK ? rc : end;
}

/* The clone would become a child of such a task. */
static bool adopts_orphans(const struct dump_ctx *ctx)
{
	if (ctx->tree->tasks[0].pid == 1)
		return true;
	for (size_t i = 0; i < ctx->tree->task_count; i++) {
		const struct dump_task *t = &ctx->tasks[i];

		if (!t->task->zombie && t->cores[0]->tc->child_subreaper)
			return true;
	}
	return false;
}

static int clone_task(struct capture *capture, struct captured *c)
{
	char reason[CLONE_REASON_BYTES] = "";
	int rc;

	if (!limits_allow_clone(c->pid, c->bytes, reason, sizeof(reason))) {
		rc = R_BUSY;
	} else {
		rc = read_aside(capture->ctx, c);
		if (rc == R_OK && capture->ctx->verify_tracking)
			rc = witness_new(c->t->task, &c->t->survey, &c->witness);
		if (rc == R_OK)
			rc = make_clone(c, reason);
		else if (rc == R_BUSY)
			snprintf(reason, sizeof(reason),
				 "too much memory is not for children "
				 "(MADV_DONTFORK)");
	}
	if (rc == R_OK) {
		capture->summary.clones++;
		return R_OK;
	}
	drop_asides(c);
	if (rc != R_BUSY)
		return rc;
	snprintf(capture->summary.reason, sizeof(capture->summary.reason), "pid %d: %s", c->pid,
		 reason);
	return R_OK;
}

/* The list of living tasks; returns how much is to be read of all. */
static uint64_t list_tasks(struct capture *capture)
{
	const struct dump_ctx *ctx = capture->ctx;
	uint64_t total = 0;

	for (size_t i = 0; i < ctx->tree->task_count; i++) {
		struct captured *c = &capture->tasks[capture->n];

		if (ctx->tasks[i].task->zombie)
			continue;
		c->t = &ctx->tasks[i];
		c->pid = c->t->task->pid;
		while (capture->tasks[c->owner].t->ids.vm_id != c->t->ids.vm_id)
			c->owner++;
		c->read_bytes = survey_bytes(&c->t->survey, SURVEY_OWN);
		if (c->owner == capture->n)
			c->bytes = c->read_bytes + survey_bytes(&c->t->survey, SURVEY_KEPT);
		total += c->read_bytes;
		capture->n++;
	}
	return total;
}

static bool is_worth_it(const struct captured *c)
{
	return c->read_bytes > COPY_TASK_BYTES && c->read_bytes > c->bytes / CLONE_IS_CHEAPER_BY;
}

int capture_tree(struct dump_ctx *ctx, enum capture_method method, struct capture **capture)
{
	struct capture *new = calloc(1, sizeof(*new));
	uint64_t total;
	int rc = R_OK;

	*capture = new;
	if (new)
		new->tasks = calloc(ctx->tree->task_count, sizeof(*new->tasks));
	if (!new || !new->tasks) {
		warn("no memory for a list of %zu tasks", ctx->tree->task_count);
		return R_FAILED;
	}
	new->ctx = ctx;
	new->summary.method = CAPTURE_COPY;
	total = list_tasks(new);
	if (method == CAPTURE_COPY || (method != CAPTURE_CLONE && total <= COPY_TREE_BYTES))
		return R_OK;
	if (adopts_orphans(ctx)) {
		snprintf(new->summary.reason, sizeof(new->summary.reason),
			 "a task of the tree adopts orphans");
		return R_OK;
	}
	for (size_t i = 0; rc == R_OK && i < new->n; i++) {
		struct captured *c = &new->tasks[i];

		if (c->owner == i && (method == CAPTURE_CLONE || is_worth_it(c)))
			rc = clone_task(new, c);
	}
	if (new->summary.clones)
		new->summary.method = CAPTURE_CLONE;
	return rc;
}

static struct captured *find(const struct capture *capture, const struct dump_task *t)
{
	for (size_t i = 0; i < capture->n; i++)
		if (capture->tasks[i].t == t)
			return &capture->tasks[i];
	return NULL;
}

bool capture_is_cloned(const struct capture *capture, const struct dump_task *t)
{
	const struct captured *c = capture ? find(capture, t) : NULL;

	return c && capture->tasks[c->owner].clone;
}

int capture_store(struct capture *capture)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < capture->n; i++)
		if (capture->tasks[i].clone)
			rc = clone_settle(capture->tasks[i].clone);
	for (size_t i = 0; rc == R_OK && i < capture->n; i++) {
		const struct captured *c = &capture->tasks[i], *from = &capture->tasks[c->owner];
		struct capture_source source = { 0, true, from->asides, from->n_asides,
						 from->witness };

		if (!from->clone)
			continue;
		source.pid = clone_pid(from->clone);
		rc = dump_memory(capture->ctx, c->t, c->pid, &source);
	}
	return rc;
}

void capture_end(struct capture *capture, struct capture_summary *summary)
{
	if (!capture)
		return;
	for (size_t i = 0; i < capture->n; i++) {
		clone_end(capture->tasks[i].clone);
		drop_asides(&capture->tasks[i]);
		witness_free(capture->tasks[i].witness);
	}
	*summary = capture->summary;
	free(capture->tasks);
	free(capture);
}
