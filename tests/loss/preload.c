#define _GNU_SOURCE
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The next function of this name: that of the C library. */
#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort();
	return found;
}

static const char *dir_of_interest(void)
{
	const char *dir = getenv("LOSS_DIR");

	return dir && *dir ? dir : NULL;
}

bool call_path(const struct call *call, const char *name, char path[4096])
{
	char link[64];
	ssize_t len = 0;

	if (!name || name[0] != '/') {
		if (call->fd == AT_FDCWD)
			snprintf(link, sizeof(link), "/proc/self/cwd");
		else
			snprintf(link, sizeof(link), "/proc/self/fd/%d", call->fd);
		len = readlink(link, path, 4000);
		if (len < 0)
			return false;
		path[len] = '\0';
	}
	if (name && snprintf(path + len, 4096 - (size_t)len, "%s%s", len ? "/" : "", name) >=
			4096 - (int)len)
		return false;
	return true;
}

bool call_concerns(const struct call *call)
{
	const char *dir = dir_of_interest();
	char path[4096];
	size_t len;

	if (!dir || !call_path(call, call->name, path))
		return false;
	len = strlen(dir);
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Runs `expression`, of which a negative result or NULL is a failure, as a call of that kind. */
#define PASS(type, failure, call, expression) \
	({ \
		bool concerns_ = call_concerns(&(call)); \
		int error_ = concerns_ ? before_call(&(call)) : 0; \
		type result_; \
\
		if (error_ > 0) { \
			errno = error_; \
			result_ = (failure); \
		} else if (concerns_) { \
			record_lock(); \
			result_ = (expression); \
			if (result_ != (failure)) \
				after_call(&(call)); \
			record_unlock(); \
		} else { \
			result_ = (expression); \
		} \
		result_; \
	})

ssize_t write(int fd, const void *data, size_t len)
{
	struct call call = { CALL_WRITE, "write", fd, .data = data, .len = len, .offset = -1 };

	return PASS(ssize_t, -1, call, REAL(write)(fd, data, len));
}

static ssize_t do_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	struct call call = { CALL_WRITE, "pwrite", fd, .data = data, .len = len, .offset = offset };
	bool concerns = call_concerns(&call);
	int error = concerns ? before_call(&call) : 0;
	ssize_t put;

	if (error > 0) {
		errno = error;
		return -1;
	}
	if (error < 0)
		len = len > 1 ? len / 2 : len;
	call.len = len;
	record_lock();
	put = REAL(pwrite)(fd, data, len, offset);
	if (concerns && put == (ssize_t)len)
		after_call(&call);
	record_unlock();
	return put;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return do_pwrite(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return do_pwrite(fd, data, len, offset);
}

void *__libc_malloc(size_t len);

/* A gathered write is recorded as one write: what the kernel is given at once. */
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset)
{
	size_t len = 0, at = 0;
	ssize_t put;
	char *all;

	for (int i = 0; i < n; i++)
		len += parts[i].iov_len;
	all = __libc_malloc(len ? len : 1); /* not one of the program's own, which may fail */
	if (!all)
		return -1;
	for (int i = 0; i < n; at += parts[i++].iov_len)
		memcpy(all + at, parts[i].iov_base, parts[i].iov_len);
	put = do_pwrite(fd, all, len, offset);
	free(all);
	return put;
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct call call = { CALL_WRITE, "writev", fd };
	ssize_t put;

	if (!call_concerns(&call))
		return REAL(writev)(fd, parts, n);
	put = pwritev(fd, parts, n, at);
	if (put > 0)
		lseek(fd, at + put, SEEK_SET);
	return put;
}

int fsync(int fd)
{
	struct call call = { CALL_SYNC, "fsync", fd };

	return PASS(int, -1, call, REAL(fsync)(fd));
}

int fdatasync(int fd)
{
	struct call call = { CALL_SYNC, "fdatasync", fd };

	return PASS(int, -1, call, REAL(fdatasync)(fd));
}

int ftruncate(int fd, off_t len)
{
	struct call call = { CALL_TRUNCATE, "ftruncate", fd, .offset = len };

	return PASS(int, -1, call, REAL(ftruncate)(fd, len));
}

int ftruncate64(int fd, off_t len)
{
	return ftruncate(fd, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	struct call call = { CALL_PUNCH, "fallocate", fd, .offset = offset, .len = (size_t)len };

	return PASS(int, -1, call, REAL(fallocate)(fd, mode, offset, len));
}

int fallocate64(int fd, int mode, off_t offset, off_t len)
{
	return fallocate(fd, mode, offset, len);
}

int renameat(int from, const char *old, int to, const char *new)
{
	struct call call = { CALL_RENAME, "renameat", from, .name = old, .name2 = new };

	return PASS(int, -1, call, REAL(renameat)(from, old, to, new));
}

int rename(const char *old, const char *new)
{
	return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

int unlinkat(int fd, const char *name, int flags)
{
	struct call call = { CALL_UNLINK, "unlinkat", fd, .name = name };

	return PASS(int, -1, call, REAL(unlinkat)(fd, name, flags));
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	struct call call = { CALL_CREATE, "mkdirat", fd, .name = name, .directory = true };

	return PASS(int, -1, call, REAL(mkdirat)(fd, name, mode));
}

int mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

static int do_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	struct call call = { CALL_OPEN, "open", dirfd, .name = name };
	struct stat st;
	int fd;

	if ((flags & O_CREAT) && fstatat(dirfd, name, &st, 0) < 0 && errno == ENOENT)
		call.kind = CALL_CREATE;
	fd = PASS(int, -1, call, REAL(openat)(dirfd, name, flags, mode));
	if (fd >= 0 && (flags & O_TRUNC) && call.kind == CALL_OPEN) {
		struct call cut = { CALL_TRUNCATE, "open", fd };

		if (call_concerns(&cut))
			after_call(&cut);
	}
	return fd;
}

#define MODE_OF(flags, mode) \
	do { \
		if ((flags) & (O_CREAT | __O_TMPFILE)) { \
			va_list args_; \
\
			va_start(args_, flags); \
			(mode) = va_arg(args_, mode_t); \
			va_end(args_); \
		} \
	} while (0)

int openat(int dirfd, const char *name, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return do_openat(dirfd, name, flags, mode);
}

int openat64(int dirfd, const char *name, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return do_openat(dirfd, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return do_openat(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return do_openat(AT_FDCWD, name, flags, mode);
}

ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
	struct call call = { CALL_READ, "pread", fd };

	return PASS(ssize_t, -1, call, REAL(pread)(fd, to, len, offset));
}

ssize_t pread64(int fd, void *to, size_t len, off_t offset)
{
	return pread(fd, to, len, offset);
}

ssize_t read(int fd, void *to, size_t len)
{
	struct call call = { CALL_READ, "read", fd };

	return PASS(ssize_t, -1, call, REAL(read)(fd, to, len));
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	struct call call = { CALL_MAP, "mmap", fd };

	if (fd < 0)
		return REAL(mmap)(at, len, prot, flags, fd, offset);
	return PASS(void *, MAP_FAILED, call, REAL(mmap)(at, len, prot, flags, fd, offset));
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return mmap(at, len, prot, flags, fd, offset);
}
