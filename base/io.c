#include "base/io.h"

#include "base/fault.h"
#include "base/result.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int io_pread_all(int fd, void *buf, size_t len, off_t offset)
{
	char *at = buf;

	while (len > 0) {
		ssize_t got = pread(fd, at, len, offset);

		if (got == 0)
			return R_NOT_FOUND;
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return R_FAILED;
		}
		at += got;
		offset += got;
		len -= (size_t)got;
	}
	return R_OK;
}

int io_write_all(int fd, const void *buf, size_t len)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t put = write(fd, at, len);

		if (put < 0) {
			if (errno == EINTR)
				continue;
			return R_FAILED;
		}
		at += put;
		len -= (size_t)put;
	}
	return R_OK;
}

int io_pwrite_all(int fd, const void *buf, size_t len, off_t offset)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t put = pwrite(fd, at, len, offset);

		if (put < 0) {
			if (errno == EINTR)
				continue;
			return R_FAILED;
		}
		at += put;
		offset += put;
		len -= (size_t)put;
	}
	return R_OK;
}

int io_read_fd(int fd, size_t max_bytes, char **data, size_t *len)
{
	size_t room = 4096, used = 0;
	char *buf = malloc(room + 1);

	if (!buf)
		return R_FAILED;
	for (;;) {
		ssize_t got = read(fd, buf + used, room - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			goto err;
		if (got == 0)
			break;
		used += (size_t)got;
		if (used > max_bytes) {
			errno = EFBIG;
			goto err;
		}
		if (used == room) {
			char *more = realloc(buf, room * 2 + 1);

			if (!more)
				goto err;
			buf = more;
			room *= 2;
		}
	}
	buf[used] = '\0';
	*data = buf;
	*len = used;
	return R_OK;

err:
	free(buf);
	return R_FAILED;
}

int io_read_file(int dirfd, const char *path, size_t max_bytes, char **data, size_t *len)
{
	int fd, result, saved;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return R_FAILED;
	result = io_read_fd(fd, max_bytes, data, len);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int io_write_file(int dirfd, const char *path, const void *data, size_t len)
{
	int fd, saved;
	ssize_t put;

	fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return R_FAILED;
	put = write(fd, data, len);
	saved = errno;
	close(fd);
	errno = saved;
	if (put == (ssize_t)len)
		return R_OK;
	if (put >= 0)
		errno = EIO;
	return R_FAILED;
}

/* Syncs the directory a path is in. */
static int sync_directory_of(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	int fd, result;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return R_FAILED;
	fault_point("directory fsync");
	result = fsync(fd) < 0 ? R_FAILED : R_OK;
	close(fd);
	return result;
}

int io_move_file(int dirfd, const char *from, const char *to)
{
	fault_point("rename");
	if (renameat(dirfd, from, dirfd, to) < 0 || sync_directory_of(dirfd, to) != R_OK)
		return R_FAILED;
	return sync_directory_of(dirfd, from);
}

int io_rename_free(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

int io_exchange_files(int dirfd, const char *one, const char *other)
{
	fault_point("rename");
	return renameat2(dirfd, one, dirfd, other, RENAME_EXCHANGE) == 0 ? R_OK : R_FAILED;
}

int io_move_new(int dirfd, const char *from, const char *to)
{
	fault_point("rename");
	return renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0 ? R_OK : R_FAILED;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	static char buffer[256 << 10];

	while (at < end) {
		size_t want =
		    end - at < (off_t)sizeof(buffer) ? (size_t)(end - at) : sizeof(buffer);
		int result = io_pread_all(from, buffer, want, at);

		if (result == R_OK)
			result = io_pwrite_all(to, buffer, want, at);
		if (result != R_OK)
			return R_FAILED;
		at += (off_t)want;
	}
	return R_OK;
}

/* Makes a range read as zeroes, if there is anything. */
static int clear_range(int fd, off_t at, off_t end, off_t size)
{
	static const char zeroes[64 << 10];

	if (end > size)
		end = size;
	if (at >= end ||
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, end - at) == 0)
		return R_OK;
	while (at < end) {
		size_t n = end - at < (off_t)sizeof(zeroes) ? (size_t)(end - at) : sizeof(zeroes);

		if (io_pwrite_all(fd, zeroes, n, at) != R_OK)
			return R_FAILED;
		at += (off_t)n;
	}
	return R_OK;
}

int io_copy_file(int from, int to)
{
	struct stat source, target;
	off_t at = 0;

	if (fstat(from, &source) != 0 || fstat(to, &target) != 0)
		return R_FAILED;
	if (ioctl(to, FICLONE, from) == 0)
		return ftruncate(to, source.st_size) == 0 ? R_OK : R_FAILED;
	while (at < source.st_size) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			hole = source.st_size;
		if (clear_range(to, at, data, target.st_size) != R_OK ||
		    copy_range(from, to, data, hole) != R_OK)
			return R_FAILED;
		at = hole;
	}
	if (clear_range(to, at, source.st_size, target.st_size) != R_OK)
		return R_FAILED;
	return ftruncate(to, source.st_size) == 0 ? R_OK : R_FAILED;
}
