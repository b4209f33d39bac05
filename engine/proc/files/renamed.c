/* Finding an inode that has lost the name it had. */
#include "engine/proc/files/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"

static bool is_inode(const struct stat *st, const struct cookie *then)
{
	return S_ISREG(st->st_mode) && st->st_ino == then->ino && st->st_dev == then->dev;
}

/* A folder of the same file system: the nearest above `name` that is still there. */
static int open_above(const char *name, const struct cookie *then)
{
	char path[PATH_MAX];
	struct stat st;
	char *slash;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s", name) >= sizeof(path))
		return -1;
	while ((slash = strrchr(path, '/'))) {
		slash[slash == path] = '\0';
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == then->dev)
			return fd;
		if (fd >= 0)
			close(fd);
		if (slash == path)
			return -1;
	}
	return -1;
}

/* The path of an open file, if it has one that leads to it. */
static char *path_of(int fd, const struct cookie *then)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return NULL;
	path[len] = '\0';
	return path[0] == '/' && lstat(path, &st) == 0 && is_inode(&st, then) ? strdup(path) : NULL;
}

static char *by_handle(const char *name, const struct cookie *then, const SnapFileEntry *more)
{
	union {
		struct file_handle head;
		uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { 0 };
	int mount, fd = -1;
	char *path = NULL;

	if (!more->has_handle || more->handle.len > MAX_HANDLE_SZ)
		return NULL;
	mount = open_above(name, then);
	if (mount < 0)
		return NULL;
	h.head.handle_bytes = (unsigned int)more->handle.len;
	h.head.handle_type = more->handle_type;
	memcpy(h.room + sizeof(h.head), more->handle.data, more->handle.len);
	fd = open_by_handle_at(mount, &h.head, O_PATH | O_CLOEXEC);
	close(mount);
	if (fd >= 0) {
		path = path_of(fd, then);
		close(fd);
	}
	return path;
}

static char *in_folder(const char *name, const struct cookie *then)
{
	const char *slash = strrchr(name, '/');
	struct dirent *entry;
	char folder[PATH_MAX], *path = NULL;
	struct stat st;
	DIR *dir;

	if (!slash || (size_t)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name + 1),
				       name) >= sizeof(folder))
		return NULL;
	dir = opendir(folder);
	while (dir && !path && (entry = readdir(dir))) {
		if (entry->d_ino != then->ino ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !is_inode(&st, then))
			continue;
		if (asprintf(&path, "%s%s", folder, entry->d_name) < 0)
			path = NULL;
	}
	if (dir)
		closedir(dir);
	return path;
}

int renamed_find(const char *name, const struct cookie *then, const SnapFileEntry *more,
		 char **path)
{
	if (!then->ino)
		return R_NOT_FOUND;
	*path = by_handle(name, then, more);
	if (!*path)
		*path = in_folder(name, then);
	return *path ? R_OK : R_NOT_FOUND;
}
