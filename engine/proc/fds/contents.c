/* Data of files that live in the store: deleted files and memfds. */
#include "engine/proc/fds/contents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store.h"

#define SECTOR 512u
/* Pages read from the store at once, however scattered: 4 MiB. */
#define BATCH_PAGES 1024u

struct fill {
	struct store_view *view;
	int fd;
	uint64_t size;
	char *map; /* of a file that cannot be written to (hugetlbfs); NULL: write */
	const SnapGhostEntry *ghost;
	size_t next_partial;
	char *pages; /* BATCH_PAGES */
	page_no numbers[BATCH_PAGES];
	uint64_t indexes[BATCH_PAGES];
	size_t n;
	const struct progress *progress;
	uint64_t pages_done;
};

static int write_at(struct fill *fill, const char *from, uint64_t offset, uint64_t bytes)
{
	if (offset >= fill->size)
		return R_OK;
	if (bytes > fill->size - offset)
		bytes = fill->size - offset;
	if (io_pwrite_all(fill->fd, from, bytes, (off_t)offset) == R_OK)
		return R_OK;
	warn_errno("cannot write a file back at offset %llu", (unsigned long long)offset);
	return R_FAILED;
}

/* The sectors of page `index` that are data, one bit for each. */
static unsigned int sectors_of(struct fill *fill, uint64_t index)
{
	const SnapGhostEntry *ghost = fill->ghost;

	if (!ghost)
		return 0xff;
	while (fill->next_partial < ghost->n_partial_pages &&
	       ghost->partial_pages[fill->next_partial] < index)
		fill->next_partial++;
	if (fill->next_partial == ghost->n_partial_pages ||
	    ghost->partial_pages[fill->next_partial] != index ||
	    fill->next_partial >= ghost->n_partial_sectors)
		return 0xff;
	return ghost->partial_sectors[fill->next_partial];
}

static int write_sectors(struct fill *fill, const char *page, uint64_t index, unsigned int sectors)
{
	for (unsigned int at = 0; at < PAGE_BYTES / SECTOR;) {
		unsigned int past = at;

		while (past < PAGE_BYTES / SECTOR && (sectors & 1u << past))
			past++;
		if (past > at &&
		    write_at(fill, page + at * SECTOR, index * PAGE_BYTES + at * SECTOR,
			     (past - at) * SECTOR) != R_OK)
			return R_FAILED;
		at = past + 1;
	}
	return R_OK;
}

static int write_batch(struct fill *fill)
{
	for (size_t i = 0; i < fill->n;) {
		const char *from = fill->pages + i * PAGE_BYTES;
		uint64_t index = fill->indexes[i];
		unsigned int sectors = sectors_of(fill, index);
		size_t run = 1;

		if (sectors != 0xff) {
			if (write_sectors(fill, from, index, sectors) != R_OK)
				return R_FAILED;
			i++;
			continue;
		}
		while (i + run < fill->n && fill->indexes[i + run] == index + run &&
		       sectors_of(fill, index + run) == 0xff)
			run++;
		if (write_at(fill, from, index * PAGE_BYTES, run * PAGE_BYTES) != R_OK)
			return R_FAILED;
		i += run;
	}
	return R_OK;
}

/* Huge pages read as zero until touched; touches what holds something. */
static int map_batch(struct fill *fill)
{
	for (size_t i = 0; i < fill->n; i++) {
		uint64_t offset = fill->indexes[i] * PAGE_BYTES;

		if (fill->numbers[i] != PAGE_ZERO && offset + PAGE_BYTES <= fill->size)
			memcpy(fill->map + offset, fill->pages + i * PAGE_BYTES, PAGE_BYTES);
	}
	return R_OK;
}

static int flush_batch(struct fill *fill)
{
	page_no bad;
	int result;

	if (fill->n == 0)
		return R_OK;
	if (store_read_pages(fill->view, fill->numbers, fill->n, fill->pages, &bad) != R_OK)
		return R_DAMAGED;
	result = fill->map ? map_batch(fill) : write_batch(fill);
	fill->pages_done += fill->n;
	fill->n = 0;
	if (result == R_OK &&
	    !progress_tell(fill->progress, "filling files", fill->pages_done, 0, PROGRESS_PAGES)) {
		errno = EINTR;
		return R_FAILED;
	}
	return result;
}

static int fill_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct fill *fill = arg;

	if (index >= (fill->size + PAGE_BYTES - 1) / PAGE_BYTES)
		return R_DAMAGED;
	for (size_t i = 0; i < n; i++) {
		if (fill->n == BATCH_PAGES) {
			int result = flush_batch(fill);

			if (result != R_OK)
				return result;
		}
		fill->numbers[fill->n] = numbers[i];
		fill->indexes[fill->n++] = index + i;
	}
	return R_OK;
}

/* What was allocated without being written is so again, where the file system can. */
static int reserve(struct fill *fill)
{
	const SnapGhostEntry *ghost = fill->ghost;

	for (size_t i = 0; ghost && i < ghost->n_reserved; i++) {
		const SnapExtent *x = ghost->reserved[i];

		if (fallocate(fill->fd, FALLOC_FL_KEEP_SIZE, (off_t)x->start, (off_t)x->len) == 0)
			continue;
		if (errno == EOPNOTSUPP)
			return R_OK;
		warn_errno("cannot reserve %llu bytes of a file again", (unsigned long long)x->len);
		return R_FAILED;
	}
	return R_OK;
}

/* Makes it as long as it was, ready to be written to or mapped. */
static int prepare(struct fill *fill)
{
	struct statfs fs;

	if (ftruncate(fill->fd, (off_t)fill->size) != 0) {
		warn_errno("cannot make a file of %llu bytes", (unsigned long long)fill->size);
		return R_FAILED;
	}
	if (fill->size && fstatfs(fill->fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
		fill->map = mmap(NULL, fill->size, PROT_READ | PROT_WRITE, MAP_SHARED, fill->fd, 0);
		if (fill->map == MAP_FAILED) {
			fill->map = NULL;
			warn_errno("cannot map %llu bytes of huge pages; are enough configured?",
				   (unsigned long long)fill->size);
			return R_FAILED;
		}
	}
	return reserve(fill);
}

int contents_restore(struct fds_restore *restore, int fd, const char *name, uint64_t size,
		     const SnapGhostEntry *ghost)
{
	struct fill *fill = calloc(1, sizeof(*fill));
	struct object object;
	int result = R_FAILED;

	if (fill)
		fill->pages = aligned_alloc(PAGE_BYTES, (size_t)BATCH_PAGES * PAGE_BYTES);
	if (!fill || !fill->pages) {
		warn("no memory to write a file back; free some and try again");
		goto err0;
	}
	fill->view = fds_restore_view(restore);
	fill->fd = fd;
	fill->size = size;
	fill->ghost = ghost;
	fill->progress = fds_restore_progress(restore);
	result = R_DAMAGED;
	if (store_object(fill->view, fds_restore_generation(restore), name, &object) != R_OK) {
		warn("generation %llu: object %s is not there; run 'snap verify'",
		     (unsigned long long)fds_restore_generation(restore), name);
		goto err0;
	}
	result = prepare(fill);
	if (result == R_OK)
		result = store_object_walk(fill->view, &object, 0, UINT64_MAX, fill_run, fill);
	if (result == R_OK)
		result = flush_batch(fill);
	if (fill->map)
		munmap(fill->map, size);
	if (result == R_DAMAGED)
		warn("generation %llu: object %s is damaged; run 'snap verify --data'",
		     (unsigned long long)fds_restore_generation(restore), name);
err0:
	if (fill)
		free(fill->pages);
	free(fill);
	return result;
}
