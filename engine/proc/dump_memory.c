/* Contents of private memory, in the few large reads that a frozen target deserves. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/capture.h"
#include "engine/proc/dump.h"
#include "engine/proc/pagemap.h"
#include "engine/proc/trace.h"

#define BATCH_RANGES 256 /* below IOV_MAX, and no more than pages in the buffer */

struct copy {
	struct dump_ctx *ctx;
	pid_t pid;
	int mem; /* /proc/PID/mem, opened when needed */
	struct object_writer *writer;
	struct iovec remote[BATCH_RANGES];
	size_t n, bytes;
	uint8_t *to;	   /* where the batch is read to */
	size_t room_bytes; /* there; 0: not known yet */
	uint64_t end;	   /* of the last page written */
};

/* Ranges without PROT_READ can be read this way only. */
static int read_by_file(struct copy *copy, size_t skip)
{
	size_t done = 0;

	if (copy->mem < 0) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/mem", copy->pid);
		copy->mem = open(path, O_RDONLY | O_CLOEXEC);
		if (copy->mem < 0) {
			warn_errno("pid %d: cannot open %s", copy->pid, path);
			return R_FAILED;
		}
	}
	for (size_t i = 0; i < copy->n; done += copy->remote[i++].iov_len) {
		if (done + copy->remote[i].iov_len <= skip)
			continue;
		if (io_pread_all(copy->mem, copy->to + done, copy->remote[i].iov_len,
				 (off_t)(uintptr_t)copy->remote[i].iov_base) == R_OK)
			continue;
		warn_errno("pid %d: reading its memory at %p", copy->pid, copy->remote[i].iov_base);
		return R_FAILED;
	}
	return R_OK;
}

static int flush(struct copy *copy)
{
	struct iovec local = { copy->to, copy->bytes };
	size_t done = 0;
	ssize_t got;

	if (copy->n == 0)
		return R_OK;
	got = process_vm_readv(copy->pid, &local, 1, copy->remote, copy->n, 0);
	if (got < (ssize_t)copy->bytes && read_by_file(copy, got < 0 ? 0 : (size_t)got) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < copy->n; i++) {
		uint64_t at = (uintptr_t)copy->remote[i].iov_base;
		size_t len = copy->remote[i].iov_len;

		if (object_pages(copy->writer, at / PAGE_BYTES, copy->to + done,
				 len / PAGE_BYTES) != R_OK)
			return R_FAILED;
		done += len;
		copy->end = at + len;
	}
	copy->n = 0;
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

static int add(struct copy *copy, struct page_range range)
{
	copy->ctx->pages_found += (range.end - range.start) / PAGE_BYTES;
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
		range.start += len;
		if ((copy->n == BATCH_RANGES || copy->bytes == copy->room_bytes) &&
		    flush(copy) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int copy_range(struct copy *copy, struct pagemap *map, const VmaEntry *vma)
{
	struct page_range found[512];
	uint64_t at = vma->start;

	while (at < vma->end) {
		size_t n;

		if (pagemap_next(map, PAGES_OWN, &at, vma->end, found, 512, &n) != R_OK)
			return R_FAILED;
		for (size_t i = 0; i < n; i++)
			if (add(copy, found[i]) != R_OK)
				return R_FAILED;
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
static int copy_asides(struct copy *copy, const struct capture_source *source, const VmaEntry *vma)
{
	int rc = flush(copy);

	for (size_t i = 0; rc == R_OK && i < source->n_asides; i++) {
		const struct capture_aside *aside = &source->asides[i];
		size_t pages = (aside->end - aside->start) / PAGE_BYTES;

		if (aside->start < vma->start || aside->start >= vma->end)
			continue;
		rc = object_pages(copy->writer, aside->start / PAGE_BYTES, aside->pages, pages);
		copy->ctx->pages_found += pages;
		copy->end = aside->end;
	}
	return rc;
}

static int copy_vma(struct copy *copy, struct pagemap *map, const VmaEntry *vma,
		    const struct capture_source *source)
{
	if (!dump_has_own_pages(vma))
		return R_OK;
	if (source->is_clone && capture_lacks(vma))
		return copy_asides(copy, source, vma);
	return copy_range(copy, map, vma);
}

int dump_memory(struct dump_ctx *ctx, struct dump_task *t, pid_t pid,
		const struct capture_source *source)
{
	struct copy copy = { .ctx = ctx, .pid = source->pid, .mem = -1 };
	struct pagemap map;
	char name[32];
	int rc;

	rc = pagemap_open(copy.pid, &map);
	if (rc != R_OK)
		return rc;
	snprintf(name, sizeof(name), "pages-%d", pid);
	rc = object_begin(ctx->ingest, name, &copy.writer);
	if (rc != R_OK)
		goto err0;
	for (size_t i = 0; rc == R_OK && i < t->mm.n_vmas; i++)
		rc = copy_vma(&copy, &map, t->mm.vmas[i], source);
	if (rc == R_OK)
		rc = flush(&copy);
	if (object_end(copy.writer, copy.end) != R_OK)
		rc = R_FAILED;
	if (copy.mem >= 0)
		close(copy.mem);
err0:
	pagemap_close(&map);
	return rc;
}
