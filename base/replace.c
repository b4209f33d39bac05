#include "base/replace.h"

#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_END ".tmp"

/* What a power loss may leave: what was there or is there now; the new bytes; or anything. */
enum lasting { LASTS_EITHER, LASTS, LASTS_NOT };

/* 1 if the open file is the one of that name, 0 if not; -1 with errno set. */
static int has_name(int dirfd, const char *name, int fd, struct stat *st)
{
	struct stat named;

	if (fstat(fd, st) < 0)
		return -1;
	if (fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	return st->st_dev == named.st_dev && st->st_ino == named.st_ino;
}

/*
 * Opens a temporary file that is this writer's alone, made new or left by one that is gone.  Nobody
 * gives the file another name or removes it but under its lock, so what had the name when the lock
 * was there keeps it.  Where a file system knows no locks, nothing is swept either.
 */
static int open_temporary(int dirfd, const char *name, mode_t mode)
{
	int fd, is_ours = 0, saved;
	struct stat st;

	while (is_ours == 0) {
		fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0)
			return -1;
		while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
			;
		is_ours = has_name(dirfd, name, fd, &st);
		if (is_ours == 1)
			return fd;
		saved = errno;
		close(fd);
		errno = saved;
	}
	return -1;
}

static int replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
			enum lasting lasting)
{
	char temporary[300];
	int fd, saved;

	/* The pid keeps two writers apart; what one that died left behind is written over. */
	if (snprintf(temporary, sizeof(temporary), ".%s.%d" TEMPORARY_END, name, (int)getpid()) >=
	    (int)sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return R_FAILED;
	}
	fd = open_temporary(dirfd, temporary, mode);
	if (fd < 0)
		return R_FAILED;
	if (ftruncate(fd, 0) < 0 || fchmod(fd, mode) < 0 || io_write_all(fd, data, len) != R_OK ||
	    (lasting != LASTS_NOT && fsync(fd) < 0))
		goto err1;
	fault_point("rename");
	if (renameat(dirfd, temporary, dirfd, name) < 0)
		goto err1;
	/* Not before: with it goes the lock.  Whatever has to last has been synced. */
	close(fd);
	if (lasting != LASTS)
		return R_OK;
	fault_point("directory fsync");
	return fsync(dirfd) < 0 ? R_FAILED : R_OK;

err1:
	saved = errno;
	unlinkat(dirfd, temporary, 0);
	close(fd);
	errno = saved;
	return R_FAILED;
}

int io_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	return replace_file(dirfd, name, data, len, mode, LASTS);
}

int io_replace_file_soon(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	return replace_file(dirfd, name, data, len, mode, LASTS_EITHER);
}

int io_replace_file_for_now(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	return replace_file(dirfd, name, data, len, mode, LASTS_NOT);
}

/* ".NAME.PID.tmp", and NAME begins with `prefix`? */
static bool is_temporary(const char *entry, const char *prefix)
{
	const size_t end = strlen(TEMPORARY_END);
	size_t len = strlen(entry), digits;

	if (*entry != '.' || strncmp(entry + 1, prefix, strlen(prefix)) != 0 || len < end ||
	    strcmp(entry + len - end, TEMPORARY_END) != 0)
		return false;
	len -= end;
	for (digits = 0; digits < len && isdigit((unsigned char)entry[len - digits - 1]); digits++)
		;
	return digits > 0 && len > digits + 2 && entry[len - digits - 1] == '.';
}

static uint64_t sweep_one(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && has_name(dirfd, name, fd, &st) == 1 &&
	    S_ISREG(st.st_mode) && unlinkat(dirfd, name, 0) == 0)
		bytes = (uint64_t)st.st_blocks * 512;
	close(fd);
	return bytes;
}

uint64_t io_sweep_temporaries(int dirfd, const char *prefix)
{
	int again = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;
	uint64_t bytes = 0;

	if (!list && again >= 0)
		close(again);
	while (list && (entry = readdir(list)))
		if (is_temporary(entry->d_name, prefix))
			bytes += sweep_one(dirfd, entry->d_name);
	if (list)
		closedir(list);
	return bytes;
}
