/* Data of files into the store: deleted files and memfds. */
#include "engine/proc/fds/contents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/files/cachestat.h"

/* What one call reads: long enough that calls do not count, short enough to stay in a cache. */
#define WINDOW_PAGES 256u
/* A hole up to this long is read, too, and left out, where the data is not in memory: the disk is
 * read in long pieces then. */
#define BRIDGE_PAGES 2u

int contents_open(int fd)
{
	char path[64];
	int reader;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	if (reader < 0 && errno == EPERM)
		reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return reader;
}

/* Those of which it is known that they tell what is in memory only, without being flushed. */
static bool tells_unflushed(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
		fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC);
}

int contents_plan(int fd, uint64_t size, bool flush, struct contents_plan *plan)
{
	struct extents extents;
	int result;

	memset(plan, 0, sizeof(*plan));
	plan->size = size;
	result = extents_find(fd, size, EXTENTS_FIEMAP, flush || !tells_unflushed(fd), &extents);
	if (result != R_OK)
		return result;
	plan->means = extents.means;
	result = extents_pages(&extents, size, &plan->runs, &plan->n_runs, &plan->partial,
			       &plan->n_partial);
	if (result == R_OK) {
		plan->reserved = extents.reserved;
		plan->n_reserved = extents.n_reserved;
		extents.reserved = NULL;
	}
	extents_free(&extents);
	for (size_t i = 0; i < plan->n_runs; i++)
		plan->pages += plan->runs[i].end - plan->runs[i].start;
	return result;
}

void contents_plan_free(struct contents_plan *plan)
{
	free(plan->runs);
	free(plan->partial);
	free(plan->reserved);
	memset(plan, 0, sizeof(*plan));
}

/* Reads pages; what lies behind the end of the file is zeroes. */
static int read_window(int fd, uint64_t index, size_t n, char *pages)
{
	size_t done = 0, bytes = n * PAGE_BYTES;

	while (done < bytes) {
		ssize_t got =
		    pread(fd, pages + done, bytes - done, (off_t)(index * PAGE_BYTES + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			warn_errno("cannot read a file at offset %llu",
				   (unsigned long long)(index * PAGE_BYTES + done));
			return R_FAILED;
		}
		if (got == 0)
			break;
		done += (size_t)got;
	}
	memset(pages + done, 0, bytes - done);
	return R_OK;
}

/* One run of data, which may lie in memory the writer gave to save a copy. */
static int put_long_run(struct object_writer *writer, int fd, uint64_t at, uint64_t end,
			char *buffer)
{
	while (at < end) {
		size_t n = end - at < WINDOW_PAGES ? (size_t)(end - at) : WINDOW_PAGES;
		char *room = object_room(writer, &n);

		if (!room)
			room = buffer;
		if (read_window(fd, at, n, room) != R_OK ||
		    object_pages(writer, at, room, n) != R_OK)
			return R_FAILED;
		at += n;
	}
	return R_OK;
}

/* Where it is not known what is a hole, zeroes are. */
static int put_nonzero(struct object_writer *writer, uint64_t at, size_t n, const char *pages)
{
	static const char zero[PAGE_BYTES];

	for (size_t i = 0; i < n; i++, pages += PAGE_BYTES) {
		if (memcmp(pages, zero, PAGE_BYTES) != 0 &&
		    object_pages(writer, at + i, pages, 1) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int put_blindly(struct object_writer *writer, int fd, const struct contents_plan *plan,
		       char *buffer)
{
	uint64_t end = (plan->size + PAGE_BYTES - 1) / PAGE_BYTES;

	for (uint64_t at = 0; at < end; at += WINDOW_PAGES) {
		size_t n = end - at < WINDOW_PAGES ? (size_t)(end - at) : WINDOW_PAGES;

		if (read_window(fd, at, n, buffer) != R_OK ||
		    put_nonzero(writer, at, n, buffer) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

/* Is at least half of it in memory?  Then reading holes only costs memory for their zeroes. */
static bool is_cached(int fd, const struct contents_plan *plan)
{
	struct cache_pages stat;

	return cache_pages_of(fd, &stat) && stat.cached >= plan->pages / 2;
}

/* How many runs from `first` on fit into one window, with holes between them worth reading. */
static size_t runs_of_window(const struct contents_plan *plan, size_t first, uint64_t bridge)
{
	size_t past = first + 1;

	while (past < plan->n_runs && plan->runs[past].start - plan->runs[past - 1].end <= bridge &&
	       plan->runs[past].end - plan->runs[first].start <= WINDOW_PAGES)
		past++;
	return past;
}

static int put_runs(struct object_writer *writer, int fd, const struct contents_plan *plan,
		    char *buffer)
{
	uint64_t bridge = is_cached(fd, plan) ? 0 : BRIDGE_PAGES;

	for (size_t i = 0; i < plan->n_runs;) {
		size_t past = runs_of_window(plan, i, bridge);
		uint64_t start = plan->runs[i].start;

		if (past == i + 1) {
			if (put_long_run(writer, fd, start, plan->runs[i].end, buffer) != R_OK)
				return R_FAILED;
			i = past;
			continue;
		}
		if (read_window(fd, start, (size_t)(plan->runs[past - 1].end - start), buffer) !=
		    R_OK)
			return R_FAILED;
		for (; i < past; i++) {
			const struct extent *run = &plan->runs[i];

			if (object_pages(writer, run->start,
					 buffer + (run->start - start) * PAGE_BYTES,
					 (size_t)(run->end - run->start)) != R_OK)
				return R_FAILED;
		}
	}
	return R_OK;
}

int contents_put(struct ingest *ingest, const char *name, int fd, const struct contents_plan *plan)
{
	struct object_writer *writer;
	char *buffer = aligned_alloc(PAGE_BYTES, (size_t)WINDOW_PAGES * PAGE_BYTES);
	int result, ended;

	if (!buffer) {
		warn("no memory to read a file; free some and try again");
		return R_FAILED;
	}
	result = object_begin(ingest, name, &writer);
	if (result == R_OK) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		result = plan->means == EXTENTS_NOTHING ? put_blindly(writer, fd, plan, buffer)
							: put_runs(writer, fd, plan, buffer);
		ended = object_end(writer, plan->size);
		if (result == R_OK)
			result = ended;
	}
	free(buffer);
	return result == R_OK ? R_OK : R_FAILED;
}

int contents_take(struct fds_take *take, const struct taken_file *f, const char *name)
{
	struct contents_plan plan;
	int fd, result;

	if (!fds_take_ingest(take))
		return R_OK;
	/* Opening it would break the lease, which its holder would be told. */
	if (strstr(f->info, "LEASE")) {
		warn("%s: deleted, with a lease on it; cannot be snapshotted", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	fd = contents_open(f->local);
	if (fd < 0) {
		warn_errno("%s: cannot be opened to read it", taken_file_name(f));
		return R_FAILED;
	}
	result = contents_plan(fd, (uint64_t)f->st.st_size, false, &plan);
	if (result == R_OK) {
		result = contents_put(fds_take_ingest(take), name, fd, &plan);
		contents_plan_free(&plan);
	}
	if (result != R_OK)
		warn("%s: cannot keep what it holds", taken_file_name(f));
	close(fd);
	return result;
}
