/* Data of files that live in the store: deleted files and memfds. */
#include "engine/proc/fds/ghost.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store.h"

#define RUN_PAGES 512

struct fill {
	struct store_view *view;
	int fd;
	uint64_t size;
	char *map; /* of a file that cannot be written to (hugetlbfs); NULL: write */
};

static int fill_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	static _Alignas(PAGE_BYTES) char pages[RUN_PAGES * PAGE_BYTES];
	struct fill *fill = arg;
	uint64_t offset = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	page_no bad;

	if (n > RUN_PAGES || offset >= fill->size)
		return R_DAMAGED;
	if (store_read_pages(fill->view, numbers, n, pages, &bad) != R_OK)
		return R_DAMAGED;
	if (bytes > fill->size - offset)
		bytes = fill->size - offset;
	if (fill->map) {
		/* Huge pages read as zero until touched; touch what holds something. */
		for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) {
			if (numbers[at / PAGE_BYTES] != PAGE_ZERO)
				memcpy(fill->map + offset + at, pages + at, PAGE_BYTES);
		}
		return R_OK;
	}
	if (io_pwrite_all(fill->fd, pages, bytes, (off_t)offset) == R_OK)
		return R_OK;
	warn_errno("cannot write a file back at offset %llu", (unsigned long long)offset);
	return R_FAILED;
}

int contents_restore(struct fds_restore *restore, int fd, const char *name, uint64_t size)
{
	struct fill fill = { fds_restore_view(restore), fd, size, NULL };
	struct object object;
	struct statfs fs;
	int result;

	if (store_object(fill.view, fds_restore_generation(restore), name, &object) != R_OK) {
		warn("generation %llu: object %s is not there; run 'snap verify'",
		     (unsigned long long)fds_restore_generation(restore), name);
		return R_DAMAGED;
	}
	if (ftruncate(fd, (off_t)size) != 0) {
		warn_errno("cannot make a file of %llu bytes", (unsigned long long)size);
		return R_FAILED;
	}
	if (size && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
		fill.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fill.map == MAP_FAILED) {
			warn_errno("cannot map %llu bytes of huge pages; are enough configured?",
				   (unsigned long long)size);
			return R_FAILED;
		}
	}
	result = store_object_walk(fill.view, &object, 0, UINT64_MAX, fill_run, &fill);
	if (fill.map)
		munmap(fill.map, size);
	if (result == R_DAMAGED)
		warn("generation %llu: object %s is damaged; run 'snap verify --data'",
		     (unsigned long long)fds_restore_generation(restore), name);
	return result;
}
