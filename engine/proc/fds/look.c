/* What can be read about an open file from outside. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

/* Of linux/fcntl.h, which cannot be included beside fcntl.h. */
#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

/* An epoll with a hundred thousand files has about 90 bytes for each in its fdinfo. */
#define FDINFO_MAX_BYTES (64u << 20)

int fds_open_target(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int local;

	if (pidfd < 0)
		return -1;
	local = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (local < 0) {
		int saved = errno;

		close(pidfd);
		errno = saved;
		return -1;
	}
	close(pidfd);
	return local;
}

const char *fdinfo_value(const char *info, const char *key)
{
	size_t len = strlen(key);

	while (info && *info) {
		if (strncmp(info, key, len) == 0 && info[len] == ':') {
			info += len + 1;
			return info + strspn(info, " \t");
		}
		info = strchr(info, '\n');
		if (info)
			info++;
	}
	return NULL;
}

const char *taken_file_name(const struct taken_file *f)
{
	static char text[PATH_MAX + 64];
	const char *link = f->link ? f->link : "?";

	if (f->fd >= 0 && f->pid)
		snprintf(text, sizeof(text), "pid %d fd %d (%s)", (int)f->pid, f->fd, link);
	else if (f->path_only)
		snprintf(text, sizeof(text), "pid %d (%s)", (int)f->pid, link);
	else
		snprintf(text, sizeof(text), "file in a socket's queue (%s)", link);
	return text;
}

uint64_t taken_file_fs(const struct taken_file *f)
{
	struct statfs fs;

	if (f->fs)
		return f->fs;
	return fstatfs(f->local, &fs) == 0 ? (uint64_t)fs.f_type : 0;
}

static int look_link(struct fds_take *take, struct taken_file *f)
{
	char path[64], link[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->local);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0) {
		warn_errno("pid %d fd %d: cannot read its link", (int)f->pid, f->fd);
		return R_FAILED;
	}
	link[len] = '\0';
	f->link = fds_take_strdup(take, link);
	return f->link ? R_OK : R_FAILED;
}

/* The owner is asked for in our own pid namespace, as everything is. */
static void look_fown(struct taken_file *f)
{
	struct f_owner_ex owner = { 0 };
	uid_t uids[2] = { 0 };
	int sig;

	fown_entry__init(&f->fown);
	if ((f->flags & O_PATH) || f->path_only)
		return;
	sig = fcntl(f->local, F_GETSIG);
	if (sig > 0)
		f->fown.signum = (uint32_t)sig;
	if (fcntl(f->local, F_GETOWN_EX, &owner) != 0 || owner.pid == 0)
		return;
	f->fown.pid_type = (uint32_t)owner.type;
	f->fown.pid = (uint32_t)owner.pid;
	if (fcntl(f->local, F_GETOWNER_UIDS, uids) == 0) {
		f->fown.uid = uids[0];
		f->fown.euid = uids[1];
	}
}

static struct timespec time_of(const struct statx_timestamp *stamp)
{
	return (struct timespec){ stamp->tv_sec, stamp->tv_nsec };
}

/* One call for all that is asked of it: this is done for hundreds of files while the tree stands
 * still. */
static int look_stat(struct taken_file *f)
{
	struct statx x;

	if (statx(f->local, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
		  &x) != 0)
		return R_FAILED;
	f->st = (struct stat){
		.st_dev = makedev(x.stx_dev_major, x.stx_dev_minor),
		.st_ino = x.stx_ino,
		.st_mode = x.stx_mode,
		.st_nlink = x.stx_nlink,
		.st_uid = x.stx_uid,
		.st_gid = x.stx_gid,
		.st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
		.st_size = (off_t)x.stx_size,
		.st_blksize = (blksize_t)x.stx_blksize,
		.st_blocks = (blkcnt_t)x.stx_blocks,
		.st_atim = time_of(&x.stx_atime),
		.st_mtim = time_of(&x.stx_mtime),
		.st_ctim = time_of(&x.stx_ctime),
	};
	f->has_btime = (x.stx_mask & STATX_BTIME) != 0;
	f->btime = time_of(&x.stx_btime);
	/* Before Linux 5.8 the kernel tells it in fdinfo only. */
	f->mnt_id = x.stx_mask & STATX_MNT_ID && x.stx_mnt_id <= INT_MAX ? (int)x.stx_mnt_id : 0;
	return R_OK;
}

static int look_info(struct fds_take *take, struct taken_file *f)
{
	char path[64], *text;
	size_t len;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->local);
	if (io_read_file(AT_FDCWD, path, FDINFO_MAX_BYTES, &text, &len) != R_OK) {
		warn_errno("%s: cannot read %s", taken_file_name(f), path);
		return R_FAILED;
	}
	f->info = fds_take_strdup(take, text);
	free(text);
	return f->info ? R_OK : R_FAILED;
}

int taken_file_look(struct fds_take *take, struct taken_file *f)
{
	const char *value;

	if (look_stat(f) != R_OK) {
		warn_errno("pid %d fd %d: cannot stat it", (int)f->pid, f->fd);
		return R_FAILED;
	}
	f->fs = taken_file_fs(f);
	if (!f->link && look_link(take, f) != R_OK)
		return R_FAILED;
	/* Of what we have opened ourselves no more than its mount is of interest. */
	if (f->path_only && f->mnt_id) {
		fown_entry__init(&f->fown);
		f->info = fds_take_strdup(take, "");
		return f->info ? R_OK : R_FAILED;
	}
	if (!f->info && look_info(take, f) != R_OK)
		return R_FAILED;
	if ((value = fdinfo_value(f->info, "mnt_id")))
		f->mnt_id = atoi(value);
	if (!f->path_only) {
		if ((value = fdinfo_value(f->info, "flags")))
			f->flags = (uint32_t)strtoul(value, NULL, 8) & ~(uint32_t)O_CLOEXEC;
		if ((value = fdinfo_value(f->info, "pos")))
			f->pos = strtoull(value, NULL, 10);
	}
	look_fown(f);
	return R_OK;
}
