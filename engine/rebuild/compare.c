/* The memory of two tasks, compared by page numbers. */
#include "engine/rebuild/rebuild.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/warn.h"
#include "engine/image/image.h"

/* Pages of both at a time: 64 MiB, so that the way down the trees is gone rarely. */
#define WINDOW_PAGES 16384

struct window {
	uint64_t first;
	page_no numbers[WINDOW_PAGES];
};

struct pair {
	struct window mine, theirs;
};

static int note_numbers(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct window *w = arg;

	memcpy(w->numbers + (index - w->first), numbers, n * sizeof(*numbers));
	return R_OK;
}

/* What lies from page `end` on is absent. */
static int read_window(struct rebuild_task *t, uint64_t first, size_t n, uint64_t end,
		       struct window *w)
{
	w->first = first;
	for (size_t i = 0; i < n; i++)
		w->numbers[i] = PAGE_ABSENT;
	if (first + n < end)
		end = first + n;
	if (first >= end)
		return R_OK;
	return store_object_walk(t->r->view, &t->pages, first, end, note_numbers, w);
}

/*
 * Calls `fn` with the numbers of `n` pages of both from page `first` on, for the whole range.
 * Beyond the end of the range it was born with, `had`, a task has nothing of its source: what the
 * source has there is of another range, which is not passed on.
 */
static int each_window(struct rebuild_task *t, const VmaEntry *vma, struct rebuild_task *source,
		       const VmaEntry *had,
		       int (*fn)(const struct pair *pair, uint64_t first, size_t n, void *arg),
		       void *arg)
{
	struct pair *pair = malloc(sizeof(*pair));
	uint64_t end = vma->end / PAGE_BYTES, had_end = had->end / PAGE_BYTES;
	int rc = R_OK;

	if (!pair) {
		warn("out of memory");
		return R_FAILED;
	}
	for (uint64_t at = vma->start / PAGE_BYTES; rc == R_OK && at < end; at += WINDOW_PAGES) {
		size_t n = end - at < WINDOW_PAGES ? (size_t)(end - at) : WINDOW_PAGES;

		rc = read_window(t, at, n, end, &pair->mine);
		if (rc == R_OK)
			rc = read_window(source, at, n, had_end, &pair->theirs);
		if (rc == R_OK)
			rc = fn(pair, at, n, arg);
	}
	free(pair);
	return rc;
}

static int count(const struct pair *pair, uint64_t first, size_t n, void *arg)
{
	struct compare_counts *counts = arg;

	(void)first;
	for (size_t i = 0; i < n; i++) {
		page_no mine = pair->mine.numbers[i], theirs = pair->theirs.numbers[i];

		if (mine == theirs)
			counts->equal += mine > PAGE_ZERO;
		else
			counts->other += mine > PAGE_ZERO || theirs > PAGE_ZERO;
	}
	return R_OK;
}

int compare_count(struct rebuild_task *t, const VmaEntry *vma, struct rebuild_task *source,
		  const VmaEntry *had, struct compare_counts *counts)
{
	return each_window(t, vma, source, had, count, counts);
}

/* Back to what is there without contents: zeroes, or the file. */
static int forget(struct rebuild_task *t, uint64_t first, uint64_t end)
{
	return remote_must(&t->threads[0], "madvise(MADV_DONTNEED)", SYS_madvise,
			   first * PAGE_BYTES, (end - first) * PAGE_BYTES, MADV_DONTNEED, 0, 0, 0);
}

struct changing {
	struct rebuild_task *t;
	struct fill *fill;
	bool of_file;
};

static int change(const struct pair *pair, uint64_t first, size_t n, void *arg)
{
	struct changing *c = arg;
	size_t gone = n;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i <= n; i++) {
		page_no mine = i < n ? pair->mine.numbers[i] : PAGE_ABSENT;
		page_no theirs = i < n ? pair->theirs.numbers[i] : PAGE_ABSENT;
		bool write = mine > PAGE_ZERO || (mine == PAGE_ZERO && c->of_file);
		bool was = theirs > PAGE_ZERO || (theirs == PAGE_ZERO && c->of_file);

		if (was && !write && gone == n)
			gone = i;
		if ((!was || write) && gone < n) {
			rc = forget(c->t, first + gone, first + i);
			gone = n;
		}
		if (rc == R_OK && write && mine != theirs)
			rc = fill_page(c->fill, first + i, mine);
	}
	return rc;
}

int compare_change(struct fill *fill, struct rebuild_task *t, const VmaEntry *vma,
		   struct rebuild_task *source, const VmaEntry *had)
{
	struct changing c = { t, fill, vma->status & VMA_STATUS_FILE_PRIVATE };

	return each_window(t, vma, source, had, change, &c);
}
