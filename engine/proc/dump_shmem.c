/* Anonymous memory shared between tasks: an inode without a name, told apart by its number. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"

struct dump_shmem {
	uint64_t ino;
	uint64_t dev;
	pid_t pid; /* one mapping to reach it by */
	uint64_t start, end;
};

int dump_shmem_id(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, uint64_t *id)
{
	struct dump_shmem *more;

	/* All of these live in one file system inside the kernel, memfds too, so that the number of
	 * the inode alone is unique. */
	*id = vma->ino;
	for (size_t i = 0; i < ctx->n_shmems; i++)
		if (ctx->shmems[i].ino == vma->ino)
			return R_OK;
	more = reallocarray(ctx->shmems, ctx->n_shmems + 1, sizeof(*more));
	if (!more) {
		warn("pid %d: no memory for its shared mappings", pid);
		return R_FAILED;
	}
	ctx->shmems = more;
	more[ctx->n_shmems++] = (struct dump_shmem){
		.ino = vma->ino,
		.dev = (uint64_t)vma->dev_major << 32 | vma->dev_minor,
		.pid = pid,
		.start = vma->start,
		.end = vma->end,
	};
	return R_OK;
}

/* Copies the parts of the file that hold data. */
static int copy_data(struct dump_ctx *ctx, int fd, uint64_t size, struct object_writer *writer)
{
	off_t at = 0, end;

	while ((uint64_t)at < size) {
		at = lseek(fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? R_OK : R_FAILED;
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return R_FAILED;
		while (at < end) {
			size_t len = (size_t)(end - at);

			if (len > DUMP_BUFFER_BYTES)
				len = DUMP_BUFFER_BYTES;
			if (io_pread_all(fd, ctx->buffer, len, at) != R_OK)
				return R_FAILED;
			if (object_pages(writer, (uint64_t)at / PAGE_BYTES, ctx->buffer,
					 len / PAGE_BYTES) != R_OK)
				return R_FAILED;
			ctx->pages_found += len / PAGE_BYTES;
			at += (off_t)len;
		}
	}
	return R_OK;
}

static int store_one(struct dump_ctx *ctx, const struct dump_shmem *shmem,
		     struct image_writer *image)
{
	SnapShmemEntry entry = SNAP_SHMEM_ENTRY__INIT;
	struct object_writer *writer;
	char path[96], name[64];
	struct stat st;
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", shmem->pid,
		 (unsigned long)shmem->start, (unsigned long)shmem->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		warn_errno("pid %d: cannot open its shared memory %s", shmem->pid, path);
		rc = R_FAILED;
		goto err1;
	}
	entry.shmid = shmem->ino;
	entry.size = (uint64_t)st.st_size;
	entry.has_dev = true;
	entry.dev = shmem->dev;
	entry.has_ino = true;
	entry.ino = shmem->ino;
	image_add(image, &entry.base);
	snprintf(name, sizeof(name), "pages-shmem-%lu", (unsigned long)shmem->ino);
	rc = object_begin(ctx->ingest, name, &writer);
	if (rc != R_OK)
		goto err1;
	rc = copy_data(ctx, fd, entry.size, writer);
	if (rc != R_OK)
		warn_errno("pid %d: reading its shared memory at 0x%lx", shmem->pid,
			   (unsigned long)shmem->start);
	if (object_end(writer, entry.size) != R_OK)
		rc = R_FAILED;
err1:
	if (fd >= 0)
		close(fd);
	return rc;
}

int dump_shmems(struct dump_ctx *ctx)
{
	struct image_writer image;
	int rc = R_OK;

	if (ctx->n_shmems == 0)
		return R_OK;
	image_writer_init(&image, IMAGE_SNAP_SHMEM);
	for (size_t i = 0; rc == R_OK && i < ctx->n_shmems; i++)
		if (!fds_take_has_shmem(ctx->fds, ctx->shmems[i].ino))
			rc = store_one(ctx, &ctx->shmems[i], &image);
	if (rc == R_OK)
		rc = image_finish(&image);
	if (rc == R_OK)
		rc = object_put(ctx->ingest, "snap-shmem", image.data, image.len);
	image_writer_free(&image);
	return rc;
}
