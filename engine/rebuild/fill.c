#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/progress.h"
#include "base/warn.h"
#include "engine/image/image.h"

/*
 * Pages travel through one bounded buffer: long enough that the cost of a call is small against
 * that of its copy, short enough to stay in the cache between decompression and copy.
 */
#define FILL_PAGES 512

struct filler {
	struct rebuild_task *t;
	const VmaEntry *vma;
	uint8_t *buffer;
	page_no numbers[FILL_PAGES];
	struct iovec runs[FILL_PAGES]; /* in the task, in the order of `numbers` */
	size_t n_pages, n_runs;
};

static int report_bad(struct filler *f, page_no bad)
{
	size_t page = 0;

	for (size_t i = 0; i < f->n_runs; i++)
		for (size_t k = 0; k < f->runs[i].iov_len; k += PAGE_BYTES, page++)
			if (f->numbers[page] == bad) {
				warn("generation %llu: memory of task %d is damaged at 0x%llx",
				     (unsigned long long)f->t->r->gen.number, f->t->pid,
				     (unsigned long long)(uintptr_t)f->runs[i].iov_base + k);
				return R_DAMAGED;
			}
	warn("generation %llu: memory of task %d is damaged",
	     (unsigned long long)f->t->r->gen.number, f->t->pid);
	return R_DAMAGED;
}

static int flush(struct filler *f)
{
	struct iovec local = { f->buffer, f->n_pages * PAGE_BYTES };
	page_no bad = 0;
	ssize_t put;
	int rc;

	if (!f->n_pages)
		return R_OK;
	rc = store_read_pages(f->t->r->view, f->numbers, f->n_pages, f->buffer, &bad);
	if (rc)
		return rc == R_DAMAGED ? report_bad(f, bad) : rc;
	put = process_vm_writev(f->t->pid, &local, 1, f->runs, f->n_runs, 0);
	if (put != (ssize_t)local.iov_len) {
		if (put >= 0)
			errno = EFAULT;
		warn_errno("task %d: cannot write its memory from 0x%llx on", f->t->pid,
			   (unsigned long long)(uintptr_t)f->runs[0].iov_base);
		return R_FAILED;
	}
	f->t->r->pages_written += f->n_pages;
	f->n_pages = f->n_runs = 0;
	/* The pages of the generation are about those of all memory.  Once the old target has been
	 * ended for this one, stopping would leave neither. */
	if (!progress_tell(f->t->r->progress, "filling memory", f->t->r->pages_written,
			   f->t->r->gen.bytes_logical / PAGE_BYTES, PROGRESS_PAGES) &&
	    !f->t->r->living)
		return R_FAILED;
	return R_OK;
}

static void append(struct filler *f, uint64_t address, page_no number)
{
	struct iovec *last = f->n_runs ? &f->runs[f->n_runs - 1] : NULL;

	if (last && (uintptr_t)last->iov_base + last->iov_len == address)
		last->iov_len += PAGE_BYTES;
	else
		f->runs[f->n_runs++] = (struct iovec){ (void *)(uintptr_t)address, PAGE_BYTES };
	f->numbers[f->n_pages++] = number;
}

static int take_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct filler *f = arg;
	/* Fresh anonymous memory is zero; where a file would show through, a zero must be written.
	 */
	bool skip_zero = !(f->vma->status & VMA_STATUS_FILE_PRIVATE);
	int rc;

	for (size_t i = 0; i < n; i++) {
		if (numbers[i] == PAGE_ZERO && skip_zero)
			continue;
		append(f, (index + i) * PAGE_BYTES, numbers[i]);
		if (f->n_pages == FILL_PAGES) {
			rc = flush(f);
			if (rc)
				return rc;
		}
	}
	return R_OK;
}

int fill_task(struct rebuild_task *t)
{
	struct filler *f;
	int rc = R_OK;

	if (!t->has_pages)
		return R_OK;
	f = calloc(1, sizeof(*f));
	if (f)
		f->buffer = malloc(FILL_PAGES * PAGE_BYTES);
	if (!f || !f->buffer) {
		free(f);
		warn("out of memory");
		return R_FAILED;
	}
	f->t = t;
	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		f->vma = t->mm->vmas[i];
		if (!(f->vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE)))
			continue;
		if (f->vma->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD))
			continue;
		rc = store_object_walk(t->r->view, &t->pages, f->vma->start / PAGE_BYTES,
				       f->vma->end / PAGE_BYTES, take_run, f);
	}
	if (rc == R_OK)
		rc = flush(f);
	free(f->buffer);
	free(f);
	return rc;
}
