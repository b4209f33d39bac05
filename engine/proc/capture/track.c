#include "engine/proc/capture/track.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/capture/clone.h"
#include "engine/proc/capture/soft_dirty.h"
#include "engine/proc/capture/track_internal.h"
#include "engine/proc/capture/track_record.h"
#include "engine/proc/dump.h"
#include "engine/proc/maps.h"
#include "engine/proc/stat.h"

/* In smaller ones, reading all takes less than a page fault for each page written. */
#define TRACK_TASK_BYTES ((uint64_t)32 << 20)

/* A call costs about as much as this many pages more. */
#define NEAR_BYTES ((uint64_t)32 * 4096)

/* Of newer headers. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

static void because(struct track *track, const char *reason)
{
	if (!*track->reason)
		snprintf(track->reason, sizeof(track->reason), "%s", reason);
}

static void drop(struct track *track, size_t i)
{
	if (track->tasks[i].uffd >= 0)
		close(track->tasks[i].uffd);
	survey_free(&track->tasks[i].written);
	track->tasks[i] = track->tasks[--track->n];
	track->changed = true;
}

/* The descriptors a keeper holds. */
static void take_over(struct track *track)
{
	const struct track_record *record = &track->record;

	for (size_t i = 0; i < record->n_tasks; i++) {
		struct tracked *t = &track->tasks[track->n];

		*t = (struct tracked){ .pid = record->tasks[i].pid,
				       .start = record->tasks[i].start };
		t->uffd = track->soft_dirty ? -1 : track_keeper_fd(record, record->tasks[i].fd);
		if (t->uffd >= 0 || track->soft_dirty)
			track->n++;
		else
			track->changed = true;
	}
}

static bool is_proof(const struct track_point *proof, const struct track_point *point)
{
	return point->generation != 0 && proof->generation == point->generation &&
	       memcmp(proof->store, point->store, sizeof(proof->store)) == 0 &&
	       strcmp(proof->lineage, point->lineage) == 0;
}

bool track_is_proven(pid_t root, const struct track_point *point)
{
	struct track_record record;
	struct proc_stat stat;
	char path[TRACK_PATH_BYTES];
	const char *reason;

	return proc_stat_read(root, 0, &stat) == R_OK &&
	       track_record_path(root, stat.start_time, path, &reason) &&
	       track_record_look(path, &record) && is_proof(&record.point, point);
}

uint64_t track_least_bytes(enum track_method method)
{
	return method == TRACK_AUTO ? TRACK_TASK_BYTES : 0;
}

void track_begin(pid_t root, enum track_method method, const struct track_point *point,
		 struct track **track)
{
	struct proc_stat stat;
	const char *reason;
	struct track *new;

	*track = NULL;
	if (method == TRACK_NONE || proc_stat_read(root, 0, &stat) != R_OK)
		return;
	new = calloc(1, sizeof(*new));
	if (!new)
		return;
	*track = new;
	new->least_bytes = track_least_bytes(method);
	if (!track_record_path(root, stat.start_time, new->path, &reason)) {
		new->path[0] = '\0';
		because(new, reason);
		return;
	}
	if (method == TRACK_SOFT_DIRTY && !soft_dirty_works()) {
		new->path[0] = '\0';
		because(new, "this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
		return;
	}
	new->soft_dirty = method == TRACK_SOFT_DIRTY;
	new->claimed = track_record_claim(new->path, &new->record);
	if (new->claimed &&new->record.soft_dirty != new->soft_dirty) {
		track_keeper_end(&new->record);
		new->claimed = false;
		because(new, "writes were noted in another way before");
	}
	if (new->claimed) {
		take_over(new);
		new->proven = is_proof(&new->record.point, point);
		if (!new->proven)
			because(new, "writes are noted since another generation");
	} else {
		because(new, "writes were not noted before");
		memset(&new->record, 0, sizeof(new->record));
	}
	new->record.soft_dirty = new->soft_dirty;
	new->record.root = root;
	new->record.root_start = stat.start_time;
}

struct tracked *track_find(struct track *track, pid_t pid)
{
	struct proc_stat stat;

	for (size_t i = 0; track && i < track->n; i++)
		if (track->tasks[i].pid == pid)
			return proc_stat_read(pid, 0, &stat) == R_OK &&
				       stat.start_time == track->tasks[i].start
				   ? &track->tasks[i]
				   : NULL;
	return NULL;
}

/*
 * Anonymous private memory.  In private mappings of files a page that was dropped and then written
 * again bears, for the time between two page faults, the mark of a page that was not written; they
 * are small, and always read.
 */
bool track_may_note(const struct vma *vma)
{
	return !vma->shared && vma->ino == 0 && (*vma->name == '\0' || *vma->name == '[') &&
	       !(vma->marks & (VMA_MARK_IO | VMA_MARK_PFNMAP | VMA_MARK_HUGETLB)) &&
	       strcmp(vma->name, "[vdso]") != 0 && strncmp(vma->name, "[vvar", 5) != 0 &&
	       strcmp(vma->name, "[vsyscall]") != 0 && strncmp(vma->name, "[anon_shmem:", 12) != 0;
}

int track_enroll(int uffd, const struct vma *vma)
{
	struct uffdio_register order = {
		.range = { .start = vma->start, .len = vma->end - vma->start },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &order) == 0 ? R_OK : R_FAILED;
}

/* Which is so for a whole range; more of it would be looked through page by page. */
static bool is_async(struct pagemap *map, const struct vma *vma)
{
	struct page_range found;
	uint64_t at = vma->start;
	size_t n;

	return pagemap_next(map, PAGES_ASYNC, &at, vma->start + PAGE_BYTES, &found, 1, &n) ==
		   R_OK &&
	       n > 0;
}

/* Write protection that never stops anybody is nothing to a snapshot, whoever asked for it: a
 * keeper whose snap was killed, for one. */
static void forgive(pid_t pid, struct maps *maps)
{
	struct pagemap map = { .fd = -1 };

	for (size_t i = 0; i < maps->n; i++) {
		struct vma *vma = &maps->vmas[i];

		if (!(vma->marks & VMA_MARK_UFFD_WP))
			continue;
		if (map.fd < 0 && pagemap_open(pid, &map) != R_OK)
			return;
		if (is_async(&map, vma))
			vma->marks &= ~(uint32_t)VMA_MARK_UFFD_WP;
	}
	pagemap_close(&map);
}

void track_look(struct track *track, pid_t pid, struct maps *maps)
{
	struct tracked *t = track_find(track, pid);

	for (size_t i = 0; t && i < maps->n; i++) {
		struct vma *vma = &maps->vmas[i];

		if (!track_may_note(vma))
			continue;
		if (track->soft_dirty) {
			vma->tracked = track->proven;
			continue;
		}
		/* Only our own userfaultfd may be asked for twice. */
		if (track_enroll(t->uffd, vma) == R_OK) {
			vma->enrolled = true;
			vma->tracked = track->proven && vma->marks & VMA_MARK_UFFD_WP;
			/* Ours, which stops nobody. */
			vma->marks &= ~(uint32_t)VMA_MARK_UFFD_WP;
		} else if (errno == ESRCH)
			t->gone = true; /* execve, or it ended */
	}
	forgive(pid, maps);
}

enum survey_trust track_trust(const struct track *track, const struct vma *vma)
{
	if (!track || !vma->tracked)
		return SURVEY_UNTRACKED;
	return track->soft_dirty ? SURVEY_SOFT_DIRTY : SURVEY_TRACKED_ANON;
}

int track_open_api(int uffd)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED |
			    UFFD_FEATURE_WP_ASYNC,
	};

	return ioctl(uffd, UFFDIO_API, &api) == 0 ? R_OK : R_FAILED;
}

/* A new userfaultfd for the address space of a task. */
static int begin_task(struct track *track, struct dump_task *t)
{
	struct tracee *th = t->task->threads[0];
	char reason[CLONE_REASON_BYTES] = "";
	struct tracked *new = &track->tasks[track->n];
	int uffd = -1, rc, end;

	if (track->n == TRACK_TASKS_MAX) {
		because(track, "too many tasks");
		return R_BUSY;
	}
	if (track->soft_dirty) {
		*new = (struct tracked){ t->task->pid, t->task->start_time, -1, false };
		track->n++;
		return R_OK;
	}
	rc = inject_site_find_in(th, &t->maps, &t->site);
	if (rc != R_OK)
		return rc;
	rc = inject_begin(th, &t->site);
	if (rc == R_OK) {
		rc = clone_make(th, &t->site, NULL, &uffd, reason);
		end = inject_end(th, &t->site);
		rc = rc == R_OK || end != R_OK ? end : rc;
	}
	end = inject_site_close(&t->site);
	rc = rc == R_OK || end != R_OK ? end : rc;
	if (rc == R_OK && track_open_api(uffd) != R_OK) {
		snprintf(reason, sizeof(reason), "%s", TRACK_NO_ASYNC);
		rc = R_BUSY;
	}
	if (rc == R_OK) {
		*new = (struct tracked){ t->task->pid, t->task->start_time, uffd, false };
		track->n++;
		track->changed = true;
		return R_OK;
	}
	if (uffd >= 0)
		close(uffd);
	if (rc == R_BUSY)
		because(track, reason);
	return rc;
}

static int lift(int uffd, uint64_t page)
{
	struct uffdio_writeprotect order = { .range = { page, PAGE_BYTES } };

	while (ioctl(uffd, UFFDIO_WRITEPROTECT, &order) < 0) {
		if (errno == EAGAIN)
			continue;
		/* What is not registered any more will be read anyway. */
		return errno == ENOENT || errno == ESRCH ? R_OK : R_FAILED;
	}
	return R_OK;
}

static bool is_read(const struct survey *survey, size_t *at, const struct page_range *pages)
{
	struct survey_region region;

	return survey_next(survey, at, pages->start, pages->end, &region) &&
	       region.kind == SURVEY_OWN && region.start == pages->start &&
	       region.end == pages->end;
}

/* What was written from start to end is what the survey has found to be read.  Whatever else should
 * be there, since others may write to the task too, is lifted again. */
static int protect_at_once(struct pagemap *map, const struct survey *survey, uint64_t start,
			   uint64_t end, int uffd)
{
	struct page_range found[512];
	size_t at = 0, n;

	while (start < end) {
		/* A page that stays unprotected is read next time. */
		if (pagemap_next(map, PAGES_PROTECT, &start, end, found,
				 sizeof(found) / sizeof(found[0]), &n) != R_OK)
			return R_OK;
		for (size_t i = 0; i < n; i++) {
			if (is_read(survey, &at, &found[i]))
				continue;
			for (uint64_t page = found[i].start; page < found[i].end;
			     page += PAGE_BYTES) {
				struct page_range one = { page, page + PAGE_BYTES, 0 };

				if (!is_read(survey, &at, &one) && lift(uffd, page) != R_OK)
					return R_FAILED;
			}
		}
	}
	return R_OK;
}

/* Regions near each other in one call.  R_OK, or R_FAILED if something is protected that is not
 * going to be read. */
static int protect(struct pagemap *map, const struct survey *survey, const struct vma *vma,
		   int uffd)
{
	struct survey_region region;
	uint64_t start = vma->start, from = 0, to = 0;
	size_t at = 0;

	while (survey_next(survey, &at, start, vma->end, &region)) {
		start = region.end;
		if (region.kind != SURVEY_OWN)
			continue;
		if (to && region.start - to > NEAR_BYTES) {
			if (protect_at_once(map, survey, from, to, uffd) != R_OK)
				return R_FAILED;
			to = 0;
		}
		if (!to)
			from = region.start;
		to = region.end;
	}
	return to ? protect_at_once(map, survey, from, to, uffd) : R_OK;
}

static void protect_task(struct track *track, struct tracked *t, const struct dump_task *task)
{
	struct pagemap map;

	if (track->soft_dirty) {
		if (soft_dirty_clear(t->pid) != R_OK)
			drop(track, (size_t)(t - track->tasks));
		return;
	}
	if (pagemap_open(t->pid, &map) != R_OK)
		return;
	for (size_t i = 0; i < task->maps.n; i++) {
		const struct vma *vma = &task->maps.vmas[i];

		if (!track_may_note(vma))
			continue;
		if (!vma->enrolled && track_enroll(t->uffd, vma) != R_OK) {
			because(track, errno == EBUSY
					   ? "some ranges are watched by another userfaultfd"
					   : "the kernel does not watch some ranges");
			continue;
		}
		if (task->survey.stale && !vma->tracked) {
			struct uffdio_range range = { vma->start, vma->end - vma->start };

			/* This also takes old marks off. */
			if (ioctl(t->uffd, UFFDIO_UNREGISTER, &range) < 0 ||
			    track_enroll(t->uffd, vma) != R_OK)
				continue;
		}
		if (protect(&map, &task->survey, vma, t->uffd) == R_OK)
			continue;
		drop(track, (size_t)(t - track->tasks));
		break;
	}
	pagemap_close(&map);
}

int track_protect(struct track *track, struct dump_ctx *ctx)
{
	uint64_t written = 0;

	if (!track || !*track->path)
		return R_OK;
	for (size_t i = track->n; i-- > 0;)
		if (track->tasks[i].gone)
			drop(track, i);
	for (size_t i = 0; i < ctx->n_tasks; i++) {
		struct dump_task *t = &ctx->tasks[i];
		struct tracked *tracked;
		int rc;

		if (!dump_has_own_space(ctx, t))
			continue;
		tracked = track_find(track, t->task->pid);
		if (!tracked && survey_bytes(&t->survey, SURVEY_OWN) < track->least_bytes) {
			track->too_small = true;
		} else if (!tracked) {
			rc = begin_task(track, t);
			if (rc != R_OK && rc != R_BUSY)
				return rc;
			tracked = track_find(track, t->task->pid);
		}
		if (tracked)
			written += survey_bytes(&t->survey, SURVEY_OWN);
		if (tracked)
			protect_task(track, tracked, t);
	}
	track->record.written_bytes = written;
	return R_OK;
}

static bool keeper_lives(const struct track *track)
{
	struct proc_stat stat;

	return track->claimed && proc_stat_read(track->record.keeper, 0, &stat) == R_OK &&
	       stat.state != 'Z' && stat.start_time == track->record.keeper_start;
}

/* Tasks that have ended, or are no part of the tree, are not kept. */
static void drop_ended(struct track *track)
{
	for (size_t i = track->n; i-- > 0;)
		if (track_find(track, track->tasks[i].pid) != &track->tasks[i])
			drop(track, i);
}

void track_commit(struct track *track, const struct track_point *point)
{
	struct track_record *record, old;
	int fds[TRACK_TASKS_MAX];

	if (!track || !*track->path)
		return;
	record = &track->record;
	old = *record;
	drop_ended(track);
	record->point = *point;
	if (track->n > 0 && (track->changed || !keeper_lives(track))) {
		for (size_t i = 0; i < track->n; i++) {
			fds[i] = track->tasks[i].uffd;
			record->tasks[i].pid = track->tasks[i].pid;
			record->tasks[i].start = track->tasks[i].start;
		}
		if (track_keeper_start(track->path, fds, track->soft_dirty ? 0 : track->n,
				       record) != R_OK)
			goto failed;
		if (track->claimed)
			track_keeper_end(&old);
		track->claimed = true;
	}
	/* Of userfaultfds the keeper that lives has just these. */
	for (size_t i = 0; track->soft_dirty && i < track->n; i++) {
		record->tasks[i].pid = track->tasks[i].pid;
		record->tasks[i].start = track->tasks[i].start;
		record->n_tasks = (uint32_t)track->n;
	}
	if (track->n == 0 && !track->claimed)
		return;
	if (track->n == 0 || track_record_put(track->path, record) != R_OK)
		goto failed;
	track->committed = true;
	return;
failed:
	if (track->n > 0)
		warn_errno("cannot note what was tracked; the next take reads everything");
}

bool track_has(const struct track *track, pid_t pid)
{
	for (size_t i = 0; track && i < track->n; i++)
		if (track->tasks[i].pid == pid)
			return true;
	return false;
}

bool track_is_kept(const struct track *track)
{
	return track && track->committed;
}

void track_lift(struct track *track, pid_t pid, uint64_t page)
{
	struct tracked *t = track_find(track, pid);

	/* No soft-dirty bit can be set from outside: then nothing of it is known. */
	if (t && (track->soft_dirty || lift(t->uffd, page) != R_OK))
		drop(track, (size_t)(t - track->tasks));
}

uint64_t track_expected_bytes(const struct track *track)
{
	return track && track->proven ? track->record.written_bytes : 0;
}

void track_summarize(const struct track *track, const struct dump_ctx *ctx,
		     struct track_summary *summary)
{
	if (!track)
		return;
	for (size_t i = 0; i < ctx->n_tasks; i++)
		summary->kept_bytes += survey_bytes(&ctx->tasks[i].survey, SURVEY_KEPT);
	summary->used = summary->kept_bytes > 0;
	summary->soft_dirty = track->soft_dirty;
	/* Nothing is noted any more without a commit: of a target that ends, or stays stopped. */
	summary->tasks = track->committed ? track->n : 0;
	memcpy(summary->reason, track->reason, sizeof(summary->reason));
	if (track->too_small && track->n == 0)
		snprintf(
		    summary->reason, sizeof(summary->reason),
		    "less than %u MiB to a task, which is read faster than it is noted what is "
		    "written",
		    (unsigned)(TRACK_TASK_BYTES >> 20));
}

void track_end(struct track *track)
{
	if (!track)
		return;
	/* Nothing can be relied on: then the target is not to be slowed down either. */
	if (track->claimed && !track->committed)
		track_keeper_end(&track->record);
	for (size_t i = track->n; i-- > 0;)
		drop(track, i);
	free(track);
}

int engine_untrack(pid_t pid)
{
	struct track_record record;
	struct proc_stat stat;
	char path[TRACK_PATH_BYTES];
	const char *reason;
	int rc = proc_stat_read(pid, 0, &stat);

	if (rc != R_OK)
		return rc;
	if (!track_record_path(pid, stat.start_time, path, &reason) ||
	    !track_record_claim(path, &record))
		return R_NOT_FOUND;
	track_keeper_end(&record);
	return R_OK;
}
