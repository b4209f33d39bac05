/* Contents of files with a path, as objects. */
#include "engine/proc/files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"

#define BATCH_BYTES (256u << 10)

int file_open_quietly(int dirfd, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(dirfd, name, flags | O_NOATIME);

	/* Not ours, and no right to leave its access time alone. */
	if (fd < 0 && errno == EPERM)
		fd = openat(dirfd, name, flags);
	return fd;
}

bool file_is_leased(struct file_leases *leases, uint64_t dev, uint64_t ino)
{
	char *text, *line, *save = NULL;
	size_t len;

	if (!leases->looked &&
	    io_read_file(AT_FDCWD, "/proc/locks", 16u << 20, &text, &len) == R_OK) {
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			unsigned int major, minor;
			unsigned long long inode;
			void *more;
			char how[16];

			/* "2: LEASE  ACTIVE    WRITE 812 08:01:1234 0 EOF"; readers break no READ.
			 */
			if (sscanf(line, "%*d: LEASE %*s %15s %*d %x:%x:%llu", how, &major, &minor,
				   &inode) != 4 ||
			    strcmp(how, "READ") == 0)
				continue;
			more = realloc(leases->list, (leases->n + 1) * sizeof(*leases->list));
			if (!more)
				continue;
			leases->list = more;
			leases->list[leases->n][0] = (uint64_t)major << 32 | minor;
			leases->list[leases->n++][1] = inode;
		}
		free(text);
	}
	leases->looked = true;
	for (size_t i = 0; i < leases->n; i++)
		if (leases->list[i][1] == ino && leases->list[i][0] == dev)
			return true;
	return false;
}

void blob_name(const char *prefix, const char *path, unsigned int twin, char name[BLOB_NAME_BYTES])
{
	unsigned long long hash = XXH3_64bits(path, strlen(path));

	if (twin)
		snprintf(name, BLOB_NAME_BYTES, "%s-%016llx-%u", prefix, hash, twin);
	else
		snprintf(name, BLOB_NAME_BYTES, "%s-%016llx", prefix, hash);
}

/* Hands over one range that has data, and sums it up. */
static int store_range(struct object_writer *writer, struct sum *sum, uint8_t *buffer, int fd,
		       uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t want = to - from < BATCH_BYTES ? (size_t)(to - from) : BATCH_BYTES;
		size_t pages = (want + PAGE_BYTES - 1) / PAGE_BYTES;
		int rc = io_pread_all(fd, buffer, want, (off_t)from);

		if (rc != R_OK)
			return rc;
		memset(buffer + want, 0, pages * PAGE_BYTES - want);
		if (sum)
			sum_add(sum, buffer, want);
		if (object_pages(writer, from / PAGE_BYTES, buffer, pages) != R_OK)
			return R_FAILED;
		from += want;
	}
	return R_OK;
}

/* Sums up zeroes that are not stored. */
static void skip_range(struct sum *sum, uint8_t *buffer, uint64_t from, uint64_t to)
{
	if (!sum)
		return;
	if (from < to)
		memset(buffer, 0, to - from < BATCH_BYTES ? (size_t)(to - from) : BATCH_BYTES);
	while (from < to) {
		size_t n = to - from < BATCH_BYTES ? (size_t)(to - from) : BATCH_BYTES;

		sum_add(sum, buffer, n);
		from += n;
	}
}

/* The next range with data from `at` on, in whole pages; false behind the last. */
static bool next_data(int fd, uint64_t at, uint64_t bytes, uint64_t *from, uint64_t *to)
{
	off_t data, hole;

	if (at >= bytes)
		return false;
	data = lseek(fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return false;
	*from = data < 0 ? at : (uint64_t)data / PAGE_BYTES * PAGE_BYTES;
	hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	*to = hole < 0 ? bytes : ((uint64_t)hole + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	if (*from < at)
		*from = at;
	if (*to > bytes)
		*to = bytes;
	return *from < bytes;
}

int blob_store(struct ingest *ingest, const char *name, int fd, uint64_t bytes,
	       struct file_sum *sum)
{
	uint8_t *buffer = aligned_alloc(PAGE_BYTES, BATCH_BYTES);
	struct sum *adding = sum ? sum_begin() : NULL;
	uint64_t at = 0, from, to;
	struct object_writer *writer;
	int rc;

	if (!buffer || (sum && !adding)) {
		warn("no memory to store a file; free some and try again");
		rc = R_FAILED;
		goto out;
	}
	rc = object_begin(ingest, name, &writer);
	if (rc != R_OK)
		goto out;
	while (rc == R_OK && next_data(fd, at, bytes, &from, &to)) {
		skip_range(adding, buffer, at, from);
		rc = store_range(writer, adding, buffer, fd, from, to);
		at = to;
	}
	if (rc == R_OK)
		skip_range(adding, buffer, at, bytes);
	else if (rc == R_FAILED)
		warn_errno("cannot read a file that is to be stored as %s", name);
	if (object_end(writer, bytes) != R_OK)
		rc = R_FAILED;
out:
	if (adding)
		sum_end(adding, SUM_FULL, 0, rc == R_OK ? sum : NULL);
	free(buffer);
	return rc;
}
