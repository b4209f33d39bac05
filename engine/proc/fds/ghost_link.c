/*
 * A file that was deleted under the name it was opened by and has another one somewhere: its file
 * system finds it by its handle (open_by_handle_at(2)), as long as it exists.
 */
#include "engine/proc/fds/ghost_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"

struct handle {
	struct file_handle head;
	unsigned char room[MAX_HANDLE_SZ];
};

int ghost_link_take(struct fds_take *take, const struct taken_file *f)
{
	struct handle handle = { .head = { .handle_bytes = MAX_HANDLE_SZ } };
	SnapLinkEntry entry = SNAP_LINK_ENTRY__INIT;
	int mount;

	if (!S_ISREG(f->st.st_mode) ||
	    name_to_handle_at(f->local, "", &handle.head, &mount, AT_EMPTY_PATH) != 0)
		return R_UNSUPPORTED;
	entry.id = f->id;
	entry.handle_type = handle.head.handle_type;
	entry.handle.data = handle.head.f_handle;
	entry.handle.len = handle.head.handle_bytes;
	entry.has_dev = entry.has_ino = true;
	entry.dev = f->st.st_dev;
	entry.ino = f->st.st_ino;
	fds_take_put(take, IMAGE_SNAP_LINKS, &entry.base, NULL, 0);
	return R_OK;
}

/* The nearest directory above `name` that is there. */
static int open_above(const char *name)
{
	char path[PATH_MAX];
	char *slash;
	int fd = -1;

	if ((size_t)snprintf(path, sizeof(path), "%s", name) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	while (fd < 0 && (slash = strrchr(path, '/'))) {
		slash[slash == path] = '\0';
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (slash == path)
			break;
	}
	return fd;
}

int ghost_link_open(const SnapLinkEntry *link, const char *name)
{
	struct handle handle = { .head = { .handle_bytes = (unsigned int)link->handle.len,
					   .handle_type = link->handle_type } };
	int above, fd, saved;
	struct stat st;

	if (link->handle.len > MAX_HANDLE_SZ) {
		errno = EINVAL;
		return -1;
	}
	memcpy(handle.head.f_handle, link->handle.data, link->handle.len);
	above = open_above(name);
	if (above < 0)
		return -1;
	fd = open_by_handle_at(above, &handle.head, O_PATH | O_CLOEXEC);
	saved = errno;
	close(above);
	/* Handles have the generation of the inode: another file in its place is not found. */
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)) {
		close(fd);
		fd = -1;
		saved = ESTALE;
	}
	errno = saved;
	return fd;
}
