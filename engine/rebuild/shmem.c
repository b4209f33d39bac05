#include "engine/rebuild/rebuild.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/warn.h"
#include "engine/image/image.h"
#include "engine/proc/fds/fds.h"

int shmem_fd(const struct rebuild *r, uint64_t shmid)
{
	for (size_t i = 0; i < r->n_shmems; i++)
		if (r->shmems[i].shmid == shmid)
			return r->shmems[i].fd;
	return -1;
}

/* A mapping may be longer than the memory it shows; without a size, it is as long as is mapped. */
static int cover(struct rebuild *r, const VmaEntry *vma)
{
	uint64_t bytes = vma->pgoff + (vma->end - vma->start);
	struct rebuild_shmem *grown;

	for (size_t i = 0; i < r->n_shmems; i++) {
		if (r->shmems[i].shmid != vma->shmid)
			continue;
		if (!r->shmems[i].listed && r->shmems[i].bytes < bytes)
			r->shmems[i].bytes = bytes;
		return R_OK;
	}
	grown = realloc(r->shmems, (r->n_shmems + 1) * sizeof(*grown));
	if (!grown) {
		warn("out of memory");
		return R_FAILED;
	}
	r->shmems = grown;
	r->shmems[r->n_shmems++] =
	    (struct rebuild_shmem){ .shmid = vma->shmid, .bytes = bytes, .fd = -1 };
	return R_OK;
}

struct shmem_fill {
	struct rebuild *r;
	const struct rebuild_shmem *shmem;
	uint8_t *map;
};

static int fill_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct shmem_fill *fill = arg;
	struct rebuild *r = fill->r;
	page_no bad;

	for (size_t i = 0; i < n;) {
		size_t run = 0;
		uint64_t at = (index + i) * PAGE_BYTES;

		/* Untouched memory of a new region is zero already. */
		if (numbers[i] == PAGE_ZERO) {
			i++;
			continue;
		}
		while (i + run < n && numbers[i + run] != PAGE_ZERO)
			run++;
		if (at + run * PAGE_BYTES > fill->shmem->bytes)
			return R_DAMAGED;
		/* Straight into the region: no copy between. */
		madvise(fill->map + at, run * PAGE_BYTES, MADV_POPULATE_WRITE);
		if (store_read_pages(r->view, numbers + i, run, fill->map + at, &bad)) {
			warn("generation %llu: shared memory %llu is damaged at offset 0x%llx",
			     (unsigned long long)r->gen.number,
			     (unsigned long long)fill->shmem->shmid, (unsigned long long)at);
			return R_DAMAGED;
		}
		r->pages_written += run;
		if (!progress_tell(r->progress, "filling memory", r->pages_written,
				   r->gen.bytes_logical / PAGE_BYTES, PROGRESS_PAGES))
			return R_FAILED;
		i += run;
	}
	return R_OK;
}

static int fill_region(struct rebuild *r, struct rebuild_shmem *shmem, void *map)
{
	struct shmem_fill fill = { .r = r, .shmem = shmem, .map = map };
	struct object object;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "pages-shmem-%llu", (unsigned long long)shmem->shmid);
	rc = store_object(r->view, r->gen.number, name, &object);
	if (rc == R_NOT_FOUND)
		return R_OK;
	if (rc)
		return rc;
	return store_object_walk(r->view, &object, 0, shmem->bytes / PAGE_BYTES, fill_run, &fill);
}

/* A mapping of /dev/zero's kind has no name to open it by, but its link in map_files has. */
static int make_region(struct rebuild *r, struct rebuild_shmem *shmem)
{
	char link[96];
	uint64_t at;
	bool failed;
	void *map;
	int rc;

	/* Open as a file, too: the same memory. */
	rc = fds_restore_shmem(r->fds, shmem->shmid, &failed);
	if (rc >= 0) {
		rc = fcntl(rc, F_DUPFD_CLOEXEC, 0);
		shmem->fd = rc < 0 ? -1 : fds_restore_high(r->fds, rc);
		return shmem->fd < 0 ? R_FAILED : R_OK;
	}
	if (failed)
		return R_FAILED;
	map = mmap(NULL, shmem->bytes, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		warn_errno("shared memory %llu of %llu bytes", (unsigned long long)shmem->shmid,
			   (unsigned long long)shmem->bytes);
		return R_FAILED;
	}
	at = remote_address(map);
	snprintf(link, sizeof(link), "/proc/self/map_files/%llx-%llx", (unsigned long long)at,
		 (unsigned long long)(at + shmem->bytes));
	rc = open(link, O_RDWR | O_CLOEXEC);
	if (rc < 0)
		warn_errno("%s", link);
	else
		shmem->fd = fds_restore_high(r->fds, rc);
	rc = shmem->fd < 0 ? R_FAILED : fill_region(r, shmem, map);
	munmap(map, shmem->bytes);
	return rc;
}

int shmem_make(struct rebuild *r)
{
	int rc;

	for (size_t i = 0; i < r->n_tasks; i++) {
		const MmEntry *mm = r->tasks[i]->mm;

		for (size_t k = 0; mm && k < mm->n_vmas; k++) {
			if (!(mm->vmas[k]->status & VMA_STATUS_ANON_SHARED))
				continue;
			rc = cover(r, mm->vmas[k]);
			if (rc)
				return rc;
		}
	}
	for (size_t i = 0; i < r->n_shmems; i++) {
		r->shmems[i].bytes = (r->shmems[i].bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
		rc = make_region(r, &r->shmems[i]);
		if (rc)
			return rc;
	}
	return R_OK;
}

void shmem_close(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_shmems; i++)
		if (r->shmems[i].fd >= 0)
			close(r->shmems[i].fd);
}
