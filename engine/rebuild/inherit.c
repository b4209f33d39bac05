/*
 * Memory that a task has in common with the one that makes it.  It is there before the task is
 * made, so that both go on sharing the pages until one of them writes: as fork had left them, and
 * without reading and copying them twice.
 */
#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/warn.h"
#include "engine/image/image.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif

#define NONE SIZE_MAX

/* Whose memory the task is born with: helpers have none of their own and pass theirs on. */
static struct rebuild_task *source_of(const struct rebuild_task *t)
{
	struct rebuild_task *m = t->maker;

	while (m && !m->mm)
		m = m->maker;
	return m;
}

/* Is this the kind of memory that fork shares? */
static bool can_share(const VmaEntry *vma)
{
	uint64_t kept_out = 1ull << MADV_DONTFORK | 1ull << MADV_WIPEONFORK;

	if (!(vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE)))
		return false;
	if (vma->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD | VMA_STATUS_ANON_SHARED))
		return false;
	return !(vma->madv & kept_out) && (vma->flags & MAP_TYPE) != MAP_DROPPABLE;
}

/* Ends may differ, as those of a heap do. */
static bool same_but_end(const VmaEntry *a, const VmaEntry *b)
{
	return a->start == b->start && a->prot == b->prot && a->flags == b->flags &&
	       a->status == b->status && a->pgoff == b->pgoff && a->shmid == b->shmid &&
	       a->madv == b->madv && (a->end == b->end || !(a->flags & MAP_GROWSDOWN));
}

/*
 * Where it costs nothing.  A page that is spared is not read, not decompressed and needs no fault
 * and no memory (some 15 us); one that is inherited in vain is an entry copied by clone, and copied
 * once more as it is written over (below 1 us).
 */
#define WORTH 16

static int worth_it(struct rebuild_task *t, const VmaEntry *vma, struct rebuild_task *source,
		    const VmaEntry *had, bool *worth)
{
	struct compare_counts counts = { 0 };
	int rc = compare_count(t, vma, source, had, &counts);

	*worth = counts.equal > 0 && counts.equal * WORTH >= counts.other;
	return rc;
}

static int plan_task(struct rebuild_task *t)
{
	struct rebuild_task *source = source_of(t);
	size_t k = 0;

	if (!source || !t->has_pages || !source->has_pages)
		return R_OK;
	/* Both lists are in order of addresses, but for guards, which stand at their ends. */
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *vma = t->mm->vmas[i];
		bool worth;
		int rc;

		if (!can_share(vma))
			continue;
		while (k < source->mm->n_vmas && source->mm->vmas[k]->start < vma->start)
			k++;
		if (k == source->mm->n_vmas || !can_share(source->mm->vmas[k]) ||
		    !same_but_end(source->mm->vmas[k], vma))
			continue;
		rc = worth_it(t, vma, source, source->mm->vmas[k], &worth);
		if (rc)
			return rc;
		if (!worth)
			continue;
		t->vmas[i].inherits = true;
		t->vmas[i].from = k;
		source->vmas[k].early = true;
	}
	return R_OK;
}

int inherit_plan(struct rebuild *r)
{
	int rc = R_OK;

	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *t = r->tasks[i];

		if (!t->mm)
			continue;
		t->vmas = calloc(t->mm->n_vmas + 1, sizeof(*t->vmas));
		if (!t->vmas) {
			warn("out of memory");
			return R_FAILED;
		}
	}
	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++)
		if (r->tasks[i]->mm)
			rc = plan_task(r->tasks[i]);
	return rc;
}

static int drop(struct rebuild_task *t, uint64_t start, uint64_t end)
{
	return remote_must(&t->threads[0], "munmap", SYS_munmap, start, end - start, 0, 0, 0, 0);
}

/* One range that the task was born with and keeps: cut or stretched, then what differs. */
static int keep(struct fill *fill, struct rebuild_task *t, size_t i, struct rebuild_task *source)
{
	const VmaEntry *vma = t->mm->vmas[i], *had = source->mm->vmas[t->vmas[i].from];
	int64_t ret;
	int rc = R_OK;

	t->vmas[i].mapped = t->vmas[i].filled = true;
	t->vmas[i].opened = source->vmas[t->vmas[i].from].opened;
	if (vma->end < had->end)
		rc = drop(t, vma->end, had->end);
	if (vma->end > had->end) {
		rc = remote_try(&t->threads[0], &ret, SYS_mremap, had->start, had->end - had->start,
				vma->end - vma->start, 0, 0, 0);
		if (rc == R_OK && ret != (int64_t)vma->start) {
			errno = (int)-ret;
			warn_errno("task %d: mremap of 0x%llx-0x%llx", t->pid,
				   (unsigned long long)had->start, (unsigned long long)had->end);
			return R_FAILED;
		}
	}
	return rc ? rc : compare_change(fill, t, vma, source, had);
}

/* Keeps what is inherited of what the task was born with, and nothing else. */
static int sort_out(struct fill *fill, struct rebuild_task *t, struct rebuild_task *source)
{
	size_t *taker = calloc(source->mm->n_vmas + 1, sizeof(*taker));
	int rc = R_OK;

	if (!taker) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t k = 0; k < source->mm->n_vmas; k++)
		taker[k] = NONE;
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->vmas[i].inherits)
			taker[t->vmas[i].from] = i;
	for (size_t k = 0; rc == R_OK && k < source->mm->n_vmas; k++)
		if (source->vmas[k].mapped && taker[k] == NONE)
			rc = drop(t, source->mm->vmas[k]->start, source->mm->vmas[k]->end);
	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++)
		if (t->vmas[i].inherits)
			rc = keep(fill, t, i, source);
	free(taker);
	return rc;
}

int inherit_prepare(struct rebuild_task *t)
{
	struct rebuild_task *source = source_of(t);
	bool any = false;
	struct fill *fill;
	int rc = R_OK;

	if (!t->mm)
		return R_OK;
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		any |= t->vmas[i].early || t->vmas[i].inherits;
	/* Before memory is charged to the group of another task. */
	if (any)
		rc = cgroup_join(&t->threads[0]);
	fill = fill_begin(t);
	if (!fill)
		return R_FAILED;
	if (rc == R_OK && source)
		rc = sort_out(fill, t, source);
	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		if (!t->vmas[i].early || t->vmas[i].mapped)
			continue;
		rc = layout_map_range(t, i);
		if (rc == R_OK)
			rc = fill_range(fill, t->mm->vmas[i]);
		t->vmas[i].filled = true;
	}
	return fill_end(fill, rc);
}
