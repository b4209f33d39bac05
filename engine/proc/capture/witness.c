#include "engine/proc/capture/witness.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "store/store.h"

#define BATCH_PAGES 64

/* Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/kernel-page-flags.h. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_FRAME ((1ull << 55) - 1)
#define KPF_ANON (1ull << 12)
#define KPF_SWAPBACKED (1ull << 14)

struct range {
	uint64_t start, end;
	uint64_t *sums;
	bool *free; /* given back by MADV_FREE: the kernel may take it, to be zero, at any time */
};

/* What is not compared. */
struct gap {
	uint64_t start, end;
};

struct witness {
	pid_t pid;
	struct gap *gaps;
	size_t n_gaps;
	struct range *ranges; /* ascending */
	size_t n;
};

static uint64_t sum(const struct witness *witness, uint64_t address, const uint8_t *page)
{
	uint8_t copy[PAGE_BYTES];

	for (size_t i = 0; i < witness->n_gaps; i++) {
		const struct gap *gap = &witness->gaps[i];
		uint64_t end = address + PAGE_BYTES;

		if (gap->start >= end || gap->end <= address)
			continue;
		if (page != copy)
			memcpy(copy, page, PAGE_BYTES);
		page = copy;
		for (uint64_t at = gap->start > address ? gap->start : address;
		     at < gap->end && at < end; at++)
			copy[at - address] = 0;
	}
	return XXH3_64bits(page, PAGE_BYTES);
}

/* Where the kernel does not tell, no page counts as given back. */
static void note_free(pid_t pid, struct range *range)
{
	size_t n = (range->end - range->start) / PAGE_BYTES;
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC), map;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	map = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; flags >= 0 && map >= 0 && i < n; i++) {
		uint64_t entry, flag;

		if (io_pread_all(map, &entry, sizeof(entry),
				 (off_t)((range->start / PAGE_BYTES + i) * sizeof(entry))) !=
			R_OK ||
		    !(entry & PAGEMAP_PRESENT) || !(entry & PAGEMAP_FRAME))
			continue;
		if (io_pread_all(flags, &flag, sizeof(flag),
				 (off_t)((entry & PAGEMAP_FRAME) * sizeof(flag))) == R_OK)
			range->free[i] = flag & KPF_ANON && !(flag & KPF_SWAPBACKED);
	}
	if (map >= 0)
		close(map);
	if (flags >= 0)
		close(flags);
}

static int add_sums(const struct witness *witness, struct range *range, uint8_t *buffer)
{
	size_t n = (range->end - range->start) / PAGE_BYTES;

	range->sums = calloc(n, sizeof(*range->sums));
	range->free = calloc(n, sizeof(*range->free));
	if (!range->sums || !range->free) {
		warn("no memory to check a capture");
		return R_FAILED;
	}
	note_free(witness->pid, range);
	for (size_t i = 0; i < n; i += BATCH_PAGES) {
		size_t batch = n - i < BATCH_PAGES ? n - i : BATCH_PAGES;

		if (dump_read(witness->pid, range->start + i * PAGE_BYTES, buffer,
			      batch * PAGE_BYTES) != R_OK)
			return R_FAILED;
		for (size_t k = 0; k < batch; k++)
			range->sums[i + k] = sum(witness, range->start + (i + k) * PAGE_BYTES,
						 buffer + k * PAGE_BYTES);
	}
	return R_OK;
}

static void leave_out_rseq(struct witness *witness, const struct tree_task *task)
{
	for (size_t i = 0; i < task->thread_count; i++) {
		const struct tracee *th = task->threads[i];

		if (th->rseq_address)
			witness->gaps[witness->n_gaps++] =
			    (struct gap){ th->rseq_address, th->rseq_address + th->rseq_bytes };
	}
}

int witness_new(const struct tree_task *task, const struct survey *survey, struct witness **witness)
{
	struct witness *new = calloc(1, sizeof(*new));
	uint8_t *buffer = malloc(BATCH_PAGES * (size_t)PAGE_BYTES);
	int rc = R_OK;

	if (new) {
		new->pid = task->pid;
		new->ranges = calloc(survey->n + 1, sizeof(*new->ranges));
		new->gaps = calloc(task->thread_count + 1, sizeof(*new->gaps));
	}
	if (!new || !new->ranges || !new->gaps || !buffer) {
		warn("no memory to check a capture");
		rc = R_FAILED;
	} else {
		leave_out_rseq(new, task);
	}
	for (size_t i = 0; rc == R_OK && i < survey->n; i++) {
		struct range *range = &new->ranges[new->n];

		if (survey->regions[i].kind == SURVEY_GUARD)
			continue;
		range->start = survey->regions[i].start;
		range->end = survey->regions[i].end;
		new->n++;
		rc = add_sums(new, range, buffer);
	}
	free(buffer);
	if (rc == R_OK) {
		*witness = new;
		return R_OK;
	}
	witness_free(new);
	return R_FAILED;
}

/* The range that has the address, NULL if none has. */
static const struct range *range_of(const struct witness *witness, uint64_t address)
{
	size_t low = 0, high = witness->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct range *range = &witness->ranges[mid];

		if (address < range->start)
			high = mid;
		else if (address >= range->end)
			low = mid + 1;
		else
			return range;
	}
	return NULL;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

size_t witness_compare(const struct witness *witness, uint64_t start, const uint8_t *pages,
		       size_t n)
{
	size_t differ = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t address = start + i * PAGE_BYTES;
		const struct range *range = range_of(witness, address);
		size_t at = range ? (address - range->start) / PAGE_BYTES : 0;

		if (range && range->sums[at] == sum(witness, address, pages + i * PAGE_BYTES))
			continue;
		/* What was given back may be there or gone, here as in the target itself. */
		if (range && range->free[at] && is_zero(pages + i * PAGE_BYTES))
			continue;
		warn("pid %d: the page at 0x%lx is not what it was while the target stood still%s",
		     witness->pid, (unsigned long)address,
		     is_zero(pages + i * PAGE_BYTES) ? ", but zero" : "");
		differ++;
	}
	return differ;
}

void witness_free(struct witness *witness)
{
	if (!witness)
		return;
	for (size_t i = 0; i < witness->n; i++) {
		free(witness->ranges[i].sums);
		free(witness->ranges[i].free);
	}
	free(witness->ranges);
	free(witness->gaps);
	free(witness);
}
