/* Contents of private memory, in the few large reads that a frozen target deserves. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/capture.h"
#include "engine/proc/capture/witness.h"
#include "engine/proc/dump.h"
#include "engine/proc/trace.h"

#define BATCH_RANGES 1024 /* IOV_MAX */
#define BATCH_ITEMS 2048
#define PIECE_BYTES ((size_t)128 << 10) /* what one processor reads of a batch at a time */
#define PIECE_RANGES 64

/* What becomes of a range. */
struct item {
	uint64_t start;
	size_t len;
	enum survey_kind kind; /* SURVEY_KEPT: nothing is read, or only to check it */
};

struct copy {
	struct dump_ctx *ctx;
	pid_t pid;
	int mem;		       /* /proc/PID/mem, opened when needed */
	bool unpinned;		       /* read by that file only */
	const struct witness *witness; /* of what is read; may be NULL */
	struct object_writer *writer;
	struct iovec remote[BATCH_RANGES];
	size_t n, bytes;
	atomic_bool failed;		/* a piece of the batch could not be read */
	atomic_int error;		/* errno of it */
	struct item items[BATCH_ITEMS]; /* those read, in order, and those kept between them */
	size_t n_items;
	uint8_t *to;	   /* where the batch is read to */
	size_t room_bytes; /* there; 0: not known yet */
	uint64_t end;	   /* of the last page written */
};

static int open_mem(struct copy *copy)
{
	char path[64];

	if (copy->mem >= 0)
		return R_OK;
	snprintf(path, sizeof(path), "/proc/%d/mem", copy->pid);
	copy->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (copy->mem >= 0)
		return R_OK;
	warn_errno("pid %d: cannot open %s", copy->pid, path);
	return R_FAILED;
}

/* Up to PIECE_RANGES of what lies from byte `at` to `end` of the batch; moves `at` behind them. */
static size_t ranges_of(const struct copy *copy, size_t *at, size_t end,
			struct iovec ranges[PIECE_RANGES])
{
	size_t start = 0, n = 0;

	for (size_t i = 0; i < copy->n && *at < end && n < PIECE_RANGES; i++) {
		const struct iovec *range = &copy->remote[i];
		size_t stop = start + range->iov_len < end ? start + range->iov_len : end;

		if (stop > *at) {
			ranges[n].iov_base = (uint8_t *)range->iov_base + (*at - start);
			ranges[n++].iov_len = stop - *at;
			*at = stop;
		}
		start += range->iov_len;
	}
	return n;
}

static bool read_ranges(struct copy *copy, bool by_file, uint8_t *to, const struct iovec *ranges,
			size_t n, size_t bytes)
{
	struct iovec local = { to, bytes };

	if (!by_file)
		return process_vm_readv(copy->pid, &local, 1, ranges, n, 0) == (ssize_t)bytes;
	for (size_t i = 0; i < n; to += ranges[i++].iov_len)
		if (io_pread_all(copy->mem, to, ranges[i].iov_len,
				 (off_t)(uintptr_t)ranges[i].iov_base) != R_OK)
			return false;
	return true;
}

static void read_piece(struct copy *copy, size_t piece, bool by_file)
{
	size_t at = piece * PIECE_BYTES, end = at + PIECE_BYTES;
	struct iovec ranges[PIECE_RANGES];

	if (end > copy->bytes)
		end = copy->bytes;
	while (at < end && !atomic_load(&copy->failed)) {
		size_t from = at, n = ranges_of(copy, &at, end, ranges);

		if (read_ranges(copy, by_file, copy->to + from, ranges, n, at - from))
			continue;
		atomic_store(&copy->error, errno);
		atomic_store(&copy->failed, true);
	}
}

static void read_by_call(size_t piece, unsigned int worker, void *arg)
{
	(void)worker;
	read_piece(arg, piece, false);
}

static void read_by_file(size_t piece, unsigned int worker, void *arg)
{
	(void)worker;
	read_piece(arg, piece, true);
}

/* On all processors, as reading costs more than all else that is done with most pages.  True if all
 * could be read. */
static bool read_pieces(struct copy *copy,
			void (*read)(size_t piece, unsigned int worker, void *arg))
{
	size_t pieces = (copy->bytes + PIECE_BYTES - 1) / PIECE_BYTES;

	atomic_store(&copy->failed, false);
	if (pieces > 1 && !copy->ctx->readers)
		copy->ctx->readers = crew_new(CREW_MAX);
	if (pieces > 1 && copy->ctx->readers)
		crew_run(copy->ctx->readers, pieces, read, copy);
	else
		for (size_t i = 0; i < pieces; i++)
			read(i, 0, copy);
	return !atomic_load(&copy->failed);
}

/*
 * Ranges without PROT_READ can be read by file only.  Clones, and tasks that share pages since a
 * fork, are: process_vm_readv() pins what it reads, and for that the kernel (since 5.19) first
 * copies each page that is shared.  It costs about twice the time.
 */
static int read_batch(struct copy *copy)
{
	if (copy->n == 0 || (!copy->unpinned && read_pieces(copy, read_by_call)))
		return R_OK;
	if (open_mem(copy) != R_OK)
		return R_FAILED;
	if (read_pieces(copy, read_by_file))
		return R_OK;
	errno = atomic_load(&copy->error);
	warn_errno("pid %d: reading its memory from %p on", copy->pid, copy->remote[0].iov_base);
	return R_FAILED;
}

/* Hands one range on; `pages` is what was read of it. */
static int hand_on(struct copy *copy, const struct item *item, const uint8_t *pages)
{
	uint64_t index = item->start / PAGE_BYTES;
	size_t n = item->len / PAGE_BYTES;

	copy->end = item->start + item->len;
	if (copy->witness && (item->kind == SURVEY_OWN || copy->ctx->verify_tracking))
		copy->ctx->clone_misses += witness_compare(copy->witness, item->start, pages, n);
	if (item->kind == SURVEY_OWN)
		return object_pages(copy->writer, index, pages, n);
	if (copy->ctx->verify_tracking)
		return object_check(copy->writer, index, pages, n);
	return object_keep(copy->writer, index, n);
}

static int flush(struct copy *copy)
{
	bool reads_all = copy->ctx->verify_tracking;
	size_t done = 0;

	if (read_batch(copy) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < copy->n_items; i++) {
		const struct item *item = &copy->items[i];

		if (hand_on(copy, item, copy->to + done) != R_OK)
			return R_FAILED;
		if (item->kind == SURVEY_OWN || reads_all)
			done += item->len;
	}
	copy->n = 0;
	copy->n_items = 0;
	copy->bytes = 0;
	copy->room_bytes = 0;
	if (!progress_tell(copy->ctx->progress, "storing memory", copy->ctx->pages_found, 0,
			   PROGRESS_PAGES))
		return R_FAILED;
	return R_OK;
}

/* Straight to where pages are kept until the target runs again, if that is the way. */
static void find_room(struct copy *copy)
{
	size_t pages = DUMP_BUFFER_BYTES / PAGE_BYTES;

	copy->to = object_room(copy->writer, &pages);
	copy->room_bytes = pages * PAGE_BYTES;
	if (copy->to)
		return;
	copy->to = copy->ctx->buffer;
	copy->room_bytes = DUMP_BUFFER_BYTES;
}

static int add_item(struct copy *copy, uint64_t start, size_t len, enum survey_kind kind)
{
	copy->items[copy->n_items++] = (struct item){ start, len, kind };
	return copy->n_items == BATCH_ITEMS || copy->n == BATCH_RANGES ||
		       (copy->room_bytes && copy->bytes == copy->room_bytes)
		   ? flush(copy)
		   : R_OK;
}

static int add(struct copy *copy, struct survey_region range)
{
	copy->ctx->pages_found += (range.end - range.start) / PAGE_BYTES;
	if (range.kind == SURVEY_KEPT && !copy->ctx->verify_tracking)
		return add_item(copy, range.start, range.end - range.start, range.kind);
	while (range.start < range.end) {
		uint64_t len = range.end - range.start, room;

		if (!copy->room_bytes)
			find_room(copy);
		room = copy->room_bytes - copy->bytes;
		if (len > room)
			len = room;
		copy->remote[copy->n].iov_base = (void *)(uintptr_t)range.start;
		copy->remote[copy->n].iov_len = len;
		copy->n++;
		copy->bytes += len;
		if (add_item(copy, range.start, len, range.kind) != R_OK)
			return R_FAILED;
		range.start += len;
	}
	return R_OK;
}

bool dump_has_own_pages(const VmaEntry *vma)
{
	if (vma->status & (VMA_STATUS_VDSO | VMA_STATUS_VVAR | VMA_STATUS_VSYSCALL))
		return false;
	return vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE);
}

int dump_read(pid_t pid, uint64_t address, void *buf, size_t len)
{
	char path[64];
	int fd, rc;

	if (trace_read(pid, address, buf, len) == R_OK)
		return R_OK;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	rc = fd < 0 ? R_FAILED : io_pread_all(fd, buf, len, (off_t)address);
	if (rc != R_OK)
		warn_errno("pid %d: reading its memory at 0x%lx", pid, (unsigned long)address);
	if (fd >= 0)
		close(fd);
	return rc == R_OK ? R_OK : R_FAILED;
}

/* What was read aside of a range that the clone does not have. */
static int copy_aside(struct copy *copy, const struct capture_source *source,
		      const struct survey_region *region)
{
	for (size_t i = 0; i < source->n_asides; i++) {
		const struct capture_aside *aside = &source->asides[i];
		const struct item item = { region->start, region->end - region->start,
					   region->kind };

		if (aside->start != region->start || aside->end != region->end)
			continue;
		copy->ctx->pages_found += item.len / PAGE_BYTES;
		return flush(copy) == R_OK ? hand_on(copy, &item, aside->pages) : R_FAILED;
	}
	warn("pid %d: pages at 0x%lx were not copied", copy->pid, (unsigned long)region->start);
	return R_FAILED;
}

static int copy_vma(struct copy *copy, const struct survey *survey, const VmaEntry *vma,
		    const struct capture_source *source)
{
	bool aside = source->is_clone && capture_lacks(vma);
	struct survey_region region;
	uint64_t start = vma->start;
	size_t at = 0;
	int rc = R_OK;

	if (!dump_has_own_pages(vma))
		return R_OK;
	while (rc == R_OK && survey_next(survey, &at, start, vma->end, &region)) {
		start = region.end;
		if (region.kind == SURVEY_GUARD)
			continue;
		rc = aside && dump_reads(copy->ctx, &region) ? copy_aside(copy, source, &region)
							     : add(copy, region);
	}
	return rc;
}

bool dump_reads(const struct dump_ctx *ctx, const struct survey_region *region)
{
	return region->kind == SURVEY_OWN || (region->kind == SURVEY_KEPT && ctx->verify_tracking);
}

int dump_memory(struct dump_ctx *ctx, struct dump_task *t, pid_t pid,
		const struct capture_source *source)
{
	struct copy *copy = dump_alloc(ctx, sizeof(*copy));
	char name[32];
	int rc;

	if (!copy)
		return R_FAILED;
	copy->ctx = ctx;
	copy->pid = source->pid;
	copy->mem = -1;
	copy->witness = source->witness;
	copy->unpinned = source->is_clone || t->shares_pages;
	snprintf(name, sizeof(name), "pages-%d", pid);
	rc = object_begin(ctx->ingest, name, &copy->writer);
	if (rc != R_OK)
		return rc;
	for (size_t i = 0; rc == R_OK && i < t->mm.n_vmas; i++)
		rc = copy_vma(copy, &t->survey, t->mm.vmas[i], source);
	if (rc == R_OK)
		rc = flush(copy);
	if (object_end(copy->writer, copy->end) != R_OK)
		rc = R_FAILED;
	if (copy->mem >= 0)
		close(copy->mem);
	return rc;
}
