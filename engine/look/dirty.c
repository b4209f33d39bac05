#include "engine/look/dirty.h"

#include <stdlib.h>

#include "base/result.h"
#include "base/warn.h"

/* Pages compared at once. */
#define BATCH_PAGES 65536

struct side {
	uint64_t start; /* address of numbers[0] */
	page_no *numbers;
};

/* What is not stored of a file compares by being that. */
static int fill_run(const struct look_run *run, void *arg)
{
	struct side *side = arg;
	size_t first = (size_t)((run->start - side->start) / PAGE_BYTES);

	for (size_t i = 0; i < run->n; i++)
		side->numbers[first + i] = run->numbers		    ? run->numbers[i]
					   : run->kind == LOOK_FILE ? PAGE_ABSENT
								    : PAGE_ZERO;
	return R_OK;
}

static int fill(const struct look *look, const struct look_task *task, uint64_t start, uint64_t end,
		page_no *numbers)
{
	struct side side = { start, numbers };
	int rc = R_OK;

	for (size_t i = 0; i < (end - start) / PAGE_BYTES; i++)
		numbers[i] = PAGE_ZERO;
	for (size_t i = 0; rc == R_OK && task && task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		uint64_t from = vma->start > start ? vma->start : start;
		uint64_t to = vma->end < end ? vma->end : end;

		/* Guarded pages lie within the range of another entry. */
		if (from < to && !(vma->status & VMA_STATUS_GUARD))
			rc = look_vma_walk(look, task, vma, from, to, fill_run, &side);
	}
	return rc;
}

int look_dirty(const struct look *before, const struct look_task *task_before,
	       const struct look *look, const struct look_task *task, const VmaEntry *vma,
	       uint64_t *pages)
{
	page_no *numbers = malloc(2 * BATCH_PAGES * sizeof(*numbers)),
		*then = numbers + BATCH_PAGES;
	int rc = R_OK;

	*pages = 0;
	if (!numbers) {
		warn("out of memory");
		return R_FAILED;
	}
	for (uint64_t at = vma->start, end; rc == R_OK && at < vma->end; at = end) {
		end = vma->end - at > BATCH_PAGES * PAGE_BYTES ? at + BATCH_PAGES * PAGE_BYTES
							       : vma->end;
		rc = fill(look, task, at, end, numbers);
		if (rc == R_OK)
			rc = fill(before, task_before, at, end, then);
		for (size_t i = 0; rc == R_OK && i < (end - at) / PAGE_BYTES; i++)
			*pages += numbers[i] != then[i];
	}
	free(numbers);
	return rc;
}
