#include "engine/proc/capture/predump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/dump.h"
#include "engine/proc/stat.h"

/* A call is as dear as a look at this much. */
#define NEAR_BYTES ((uint64_t)32 * 4096)

/* One address space.  The tree it was found in is no more when it is read. */
struct space {
	struct dump_task *t;
	pid_t pid;
	int mem; /* /proc/PID/mem: stays that of the address space, whatever the task executes */
	struct survey written; /* protected before the stop, and to be read as well */
};

struct predump {
	struct dump_ctx *ctx;
	struct space *spaces;
	size_t n;
};

/* One address space being read. */
struct reading {
	struct predump *predump;
	const struct space *space;
	struct object_writer *writer;
	struct predump_round *round;
	uint64_t end; /* of the last page handed over */
	bool is_gone; /* the address space is no more */
};

static bool has_contents(const struct vma *vma)
{
	return !vma->shared && strcmp(vma->name, "[vdso]") != 0 &&
	       strncmp(vma->name, "[vvar", 5) != 0 && strcmp(vma->name, "[vsyscall]") != 0 &&
	       !(vma->marks & (VMA_MARK_IO | VMA_MARK_PFNMAP | VMA_MARK_HUGETLB));
}

/* A page that another userfaultfd watches may take for ever to read. */
static int check_ranges(const struct dump_task *t)
{
	for (size_t i = 0; i < t->maps.n; i++) {
		const struct vma *vma = &t->maps.vmas[i];

		if (!(vma->marks & (VMA_MARK_UFFD | VMA_MARK_UFFD_WP)))
			continue;
		warn("pid %d: 0x%lx-0x%lx is watched by a userfaultfd, which is not supported",
		     t->task->pid, (unsigned long)vma->start, (unsigned long)vma->end);
		return R_UNSUPPORTED;
	}
	for (size_t i = 0; i < t->task->thread_count; i++) {
		if (!t->task->threads[i]->seccomp_live)
			continue;
		warn("pid %d: its seccomp filter cannot be suspended here (that needs "
		     "CAP_SYS_ADMIN), which is not supported",
		     t->task->pid);
		return R_UNSUPPORTED;
	}
	return R_OK;
}

static int look_at_pages(const struct dump_ctx *ctx, struct dump_task *t)
{
	struct pagemap map;
	int rc = pagemap_open(t->task->pid, &map);

	for (size_t i = 0; rc == R_OK && i < t->maps.n; i++) {
		const struct vma *vma = &t->maps.vmas[i];

		if (has_contents(vma))
			rc = survey_range(&t->survey, &map, vma->start, vma->end,
					  track_trust(ctx->track, vma));
	}
	pagemap_close(&map);
	return rc;
}

static int look_at(struct predump *predump, struct dump_task *t)
{
	struct space *space = &predump->spaces[predump->n];
	char path[64];
	int rc;

	if (t->task->thread_count == 0 || t->task->threads[0]->tid != t->task->pid)
		return R_OK; /* the take will refuse it */
	rc = maps_read(t->task->pid, &t->maps);
	if (rc != R_OK)
		return rc;
	track_look(predump->ctx->track, t->task->pid, &t->maps);
	rc = check_ranges(t);
	if (rc == R_OK)
		rc = look_at_pages(predump->ctx, t);
	if (rc != R_OK)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/mem", t->task->pid);
	space->t = t;
	space->pid = t->task->pid;
	space->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (space->mem < 0) {
		warn_errno("pid %d: cannot open %s", space->pid, path);
		return R_FAILED;
	}
	track_take_written(predump->ctx->track, t->task->pid, &space->written);
	predump->n++;
	return R_OK;
}

int predump_look(struct dump_ctx *ctx, struct predump **predump)
{
	struct predump *new = calloc(1, sizeof(*new));
	int rc;

	*predump = new;
	if (new)
		new->spaces = calloc(ctx->n_tasks, sizeof(*new->spaces));
	if (!new || !new->spaces) {
		warn("no memory for a list of %zu tasks", ctx->n_tasks);
		return R_FAILED;
	}
	new->ctx = ctx;
	rc = dump_kobj_ids(ctx);
	for (size_t i = 0; rc == R_OK && i < ctx->n_tasks; i++)
		if (dump_has_own_space(ctx, &ctx->tasks[i]))
			rc = look_at(new, &ctx->tasks[i]);
	return rc == R_OK && ctx->refused ? R_UNSUPPORTED : rc;
}

static ssize_t read_at(const struct reading *r, uint64_t start, size_t len)
{
	uint8_t *to = r->predump->ctx->buffer;
	size_t done = 0;
	ssize_t got;

	while (done < len) {
		got = pread(r->space->mem, to + done, len - done, (off_t)(start + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return done ? (ssize_t)done : got;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int hand_over(struct reading *r, uint64_t start, size_t len)
{
	r->round->read_bytes += len;
	r->end = start + len;
	return object_pages(r->writer, start / PAGE_BYTES, r->predump->ctx->buffer,
			    len / PAGE_BYTES);
}

/* What cannot be read is left out, page by page. */
static int read_some(struct reading *r, uint64_t start, size_t len)
{
	ssize_t got = read_at(r, start, len);
	size_t whole = got > 0 ? (size_t)got & -(size_t)PAGE_BYTES : 0;

	r->is_gone |= got == 0;
	if (whole && hand_over(r, start, whole) != R_OK)
		return R_FAILED;
	if (whole == len)
		return R_OK;
	if (r->is_gone) {
		r->round->vanished_bytes += len - whole;
		return R_OK;
	}
	start += whole;
	len -= whole;
	track_lift(r->predump->ctx->track, r->space->pid, start);
	r->round->vanished_bytes += PAGE_BYTES;
	return len > PAGE_BYTES ? read_some(r, start + PAGE_BYTES, len - PAGE_BYTES) : R_OK;
}

static int read_region(struct reading *r, const struct survey_region *region)
{
	const struct dump_ctx *ctx = r->predump->ctx;

	if (region->kind == SURVEY_GUARD)
		return R_OK;
	if (r->is_gone) { /* nothing of it can be relied on any more */
		r->round->vanished_bytes += region->end - region->start;
		return R_OK;
	}
	if (region->kind == SURVEY_KEPT) {
		r->round->kept_bytes += region->end - region->start;
		r->end = region->end;
		return object_keep(r->writer, region->start / PAGE_BYTES,
				   (region->end - region->start) / PAGE_BYTES);
	}
	for (uint64_t at = region->start; at < region->end; at += DUMP_BUFFER_BYTES) {
		uint64_t len = region->end - at;

		if (read_some(r, at, len < DUMP_BUFFER_BYTES ? len : DUMP_BUFFER_BYTES) != R_OK ||
		    !progress_tell(ctx->progress, "reading ahead",
				   r->round->read_bytes / PAGE_BYTES, 0, PROGRESS_PAGES))
			return R_FAILED;
	}
	return R_OK;
}

static int read_space(struct predump *predump, const struct space *space,
		      struct predump_round *round)
{
	struct reading r = { .predump = predump, .space = space, .round = round };
	const struct survey *survey = &space->t->survey;
	char name[32];
	int rc;

	rc = survey_read_too(&space->t->survey, &space->written);
	if (rc != R_OK)
		return rc;
	snprintf(name, sizeof(name), "pages-%d", space->pid);
	rc = object_begin(predump->ctx->ingest, name, &r.writer);
	if (rc != R_OK)
		return rc;
	for (size_t i = 0; rc == R_OK && i < survey->n; i++)
		rc = read_region(&r, &survey->regions[i]);
	if (object_end(r.writer, r.end) != R_OK)
		rc = R_FAILED;
	return rc;
}

int predump_read(struct predump *predump, struct predump_round *round)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < predump->n; i++)
		rc = read_space(predump, &predump->spaces[i], round);
	return rc;
}

/* No failure is reported: the task runs, and may end meanwhile. */
static uint64_t bytes_in(const struct pagemap *open_map, enum page_question question,
			 uint64_t start, uint64_t end, uint64_t enough)
{
	struct pagemap map = *open_map;
	struct page_range found[256];
	uint64_t bytes = 0;
	size_t n;

	while (start < end && bytes < enough &&
	       pagemap_next(&map, question, &start, end, found, sizeof(found) / sizeof(found[0]),
			    &n) == R_OK)
		for (size_t i = 0; i < n; i++)
			bytes += found[i].end - found[i].start;
	return bytes;
}

/*
 * Written pages.  The kernel is quick to tell what is not protected, which is them and what was
 * never touched; of that it is asked which is which.
 */
static uint64_t written_in(const struct pagemap *open_map, uint64_t start, uint64_t end,
			   uint64_t enough)
{
	struct pagemap map = *open_map;
	struct page_range found[256];
	uint64_t bytes = 0, from = 0, to = 0;
	size_t n;

	while (start < end && bytes < enough &&
	       pagemap_next(&map, PAGES_UNPROTECTED, &start, end, found,
			    sizeof(found) / sizeof(found[0]), &n) == R_OK)
		for (size_t i = 0; i < n; i++) {
			if (to && found[i].start - to > NEAR_BYTES) {
				bytes += bytes_in(&map, PAGES_WRITTEN, from, to, enough);
				to = 0;
			}
			if (!to)
				from = found[i].start;
			to = found[i].end;
		}
	return to ? bytes + bytes_in(&map, PAGES_WRITTEN, from, to, enough) : bytes;
}

/* The marks tell of a range whether it was tracked when they were read.  Once it is enough, it is
 * not looked how much more there is. */
static uint64_t left_in(pid_t pid, const struct maps *maps, bool tracked, bool proven,
			uint64_t enough)
{
	struct pagemap map = { .pid = pid };
	uint64_t bytes = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	map.fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < maps->n && bytes < enough; i++) {
		const struct vma *vma = &maps->vmas[i];

		if (!has_contents(vma))
			continue;
		if (map.fd >= 0 && track_may_note(vma) &&
		    (tracked || (proven && vma->marks & VMA_MARK_UFFD_WP)))
			bytes += written_in(&map, vma->start, vma->end, enough - bytes);
		else if (map.fd >= 0)
			bytes += bytes_in(&map, PAGES_OWN, vma->start, vma->end, enough - bytes);
	}
	pagemap_close(&map);
	return bytes;
}

uint64_t predump_left(struct predump *predump)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < predump->n; i++) {
		const struct space *space = &predump->spaces[i];

		bytes += left_in(space->pid, &space->t->maps,
				 track_has(predump->ctx->track, space->pid), false, UINT64_MAX);
	}
	return bytes;
}

static void estimate_space(struct predump_estimate *estimate, pid_t pid)
{
	uint64_t enough = estimate->enough - estimate->worth, bytes;
	struct maps maps;

	maps_ready();
	if (maps_read(pid, &maps) != R_OK)
		return;
	if (!estimate->proven && enough < estimate->least_bytes)
		enough = estimate->least_bytes;
	bytes = left_in(pid, &maps, false, estimate->proven, enough);
	estimate->bytes += bytes;
	if (estimate->proven || bytes >= estimate->least_bytes)
		estimate->worth += bytes;
	maps_free(&maps);
}

void predump_estimate(struct predump_estimate *estimate, pid_t root)
{
	pid_t *tids;
	size_t n_tids;

	if (proc_threads(root, &tids, &n_tids) != R_OK)
		return;
	estimate->tasks++;
	if (estimate->worth < estimate->enough)
		estimate_space(estimate, root);
	for (size_t i = 0; i < n_tids; i++) {
		pid_t *pids;
		size_t n;

		if (proc_children(root, tids[i], &pids, &n) != R_OK)
			continue;
		for (size_t k = 0; k < n; k++)
			predump_estimate(estimate, pids[k]);
		free(pids);
	}
	free(tids);
}

void predump_free(struct predump *predump)
{
	if (!predump)
		return;
	for (size_t i = 0; i < predump->n; i++) {
		close(predump->spaces[i].mem);
		survey_free(&predump->spaces[i].written);
	}
	free(predump->spaces);
	free(predump);
}
