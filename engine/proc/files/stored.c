/*
 * Copies of stored files.  They live on a tmpfs that is mounted nowhere and goes with the last
 * mapping: nothing is left on any disk, whatever happens, and /proc/PID/maps and exe show the path
 * the file had, as deleted, which is what they show when a program is upgraded under a living
 * process.  Where that is not allowed, a memfd serves.
 */
#include "engine/proc/files/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/ghost.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

static int mount_nowhere(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), mount = -1, saved;

	if (fs < 0)
		return -1;
	/* No limit of its own: the files were stored, and so have a size that is known. */
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "0", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) == 0 &&
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
	saved = errno;
	close(fs);
	errno = saved;
	return mount;
}

static bool add_path(struct stored_copies *copies, const char *path)
{
	char **more = realloc(copies->paths, (copies->n + 1) * sizeof(*more));

	if (!more)
		return false;
	copies->paths = more;
	more[copies->n] = strdup(path);
	return more[copies->n] && ++copies->n;
}

static bool has_path(const struct stored_copies *copies, const char *path)
{
	for (size_t i = 0; i < copies->n; i++)
		if (strcmp(copies->paths[i], path) == 0)
			return true;
	return false;
}

/* The folders above a path relative to `mount`. */
static void make_folders(int mount, const char *path)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdirat(mount, part, 0755);
	}
}

/* Fills a new file and makes it what it was; nobody may write to it any more: closes `fd`. */
static int fill(struct fds_restore *restore, int fd, const char *object, const RegFileEntry *reg,
		const struct cookie *then)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ then->mtime_sec, then->mtime_nsec },
	};
	int rc = contents_restore(restore, fd, object, then->size, NULL);

	if (rc == R_OK && (fchmod(fd, reg->mode & 07777) != 0 || futimens(fd, times) != 0)) {
		warn_errno("%s: cannot give its stored copy mode and time", reg->name);
		rc = R_FAILED;
	}
	return rc;
}

/* What is held for writing can neither be executed nor be anybody's /proc/PID/exe. */
static int reopen_and_close(int fd)
{
	char link[64];
	int again, saved;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = open(link, O_RDONLY | O_CLOEXEC);
	saved = errno;
	close(fd);
	errno = saved;
	return again;
}

static int in_memory(struct fds_restore *restore, const char *object, const RegFileEntry *reg,
		     const struct cookie *then)
{
	const char *slash = strrchr(reg->name, '/');
	int fd = memfd_create(slash ? slash + 1 : reg->name, MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0)
		fd = memfd_create(slash ? slash + 1 : reg->name, MFD_CLOEXEC);
	if (fd < 0) {
		warn_errno("%s: cannot make a copy of what is stored", reg->name);
		return -1;
	}
	if (fill(restore, fd, object, reg, then) != R_OK) {
		close(fd);
		return -1;
	}
	return reopen_and_close(fd);
}

int stored_open(struct stored_copies *copies, struct fds_restore *restore, const char *object,
		const RegFileEntry *reg, const struct cookie *then)
{
	const char *path = reg->name + strspn(reg->name, "/");
	int fd;

	if (copies->mount < 0) {
		copies->mount = mount_nowhere();
		if (copies->mount < 0)
			return in_memory(restore, object, reg, then);
	}
	if (has_path(copies, path))
		return openat(copies->mount, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	make_folders(copies->mount, path);
	fd = openat(copies->mount, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || !add_path(copies, path)) {
		warn_errno("%s: cannot make a copy of what is stored", reg->name);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (fill(restore, fd, object, reg, then) != R_OK) {
		close(fd);
		return -1;
	}
	return reopen_and_close(fd);
}

void stored_close(struct stored_copies *copies)
{
	for (size_t i = 0; i < copies->n; i++) {
		unlinkat(copies->mount, copies->paths[i], 0);
		free(copies->paths[i]);
	}
	free(copies->paths);
	if (copies->mount >= 0)
		close(copies->mount);
	*copies = (struct stored_copies){ .mount = -1 };
}
