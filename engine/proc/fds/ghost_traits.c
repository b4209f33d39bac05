/* What an inode has besides its data: attributes, access lists, flags, times. */
#include "engine/proc/fds/ghost_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

/* How data is laid out: set while the file is empty, and nothing is lost where it cannot be. */
#define EARLY_FLAGS (FS_COMPR_FL | FS_NOCOMP_FL | FS_NOCOW_FL | FS_JOURNAL_DATA_FL | FS_DAX_FL)
/* What a program can notice: set last, as some forbid what a restore does. */
#define LATE_FLAGS \
	(FS_SECRM_FL | FS_UNRM_FL | FS_SYNC_FL | FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | \
	 FS_NOATIME_FL | FS_DIRSYNC_FL | FS_TOPDIR_FL)
/* As the kernel bounds them. */
#define LIST_BYTES 65536
#define VALUE_BYTES 65536

struct timespec ghost_btime(int fd)
{
	struct timespec btime = { 0, 0 };
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) == 0 && (stx.stx_mask & STATX_BTIME))
		btime = (struct timespec){ stx.stx_btime.tv_sec, stx.stx_btime.tv_nsec };
	return btime;
}

/* Those the kernel makes up or keeps itself are not ours to keep. */
static bool is_kept(const char *name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security.",
						"system.posix_acl_", "btrfs." };

	if (strcmp(name, "security.evm") == 0 || strcmp(name, "security.ima") == 0)
		return false;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static int take_xattr(struct fds_take *take, const char *path, const char *name,
		      SnapGhostEntry *entry, char *value)
{
	ssize_t len = getxattr(path, name, value, VALUE_BYTES);
	SnapXattr **list, *xattr;

	if (len < 0)
		return errno == ENODATA ? R_OK : R_FAILED;
	list = fds_take_alloc(take, (entry->n_xattrs + 1) * sizeof(*list));
	xattr = fds_take_alloc(take, sizeof(*xattr));
	if (!list || !xattr)
		return R_FAILED;
	snap_xattr__init(xattr);
	xattr->name = fds_take_strdup(take, name);
	xattr->value.len = (size_t)len;
	xattr->value.data = fds_take_alloc(take, (size_t)len + 1);
	if (!xattr->name || !xattr->value.data)
		return R_FAILED;
	memcpy(xattr->value.data, value, (size_t)len);
	if (entry->n_xattrs)
		memcpy(list, entry->xattrs, entry->n_xattrs * sizeof(*list));
	list[entry->n_xattrs++] = xattr;
	entry->xattrs = list;
	return R_OK;
}

static int take_xattrs(struct fds_take *take, const struct taken_file *f, SnapGhostEntry *entry)
{
	char path[64], *names = malloc(LIST_BYTES), *value = malloc(VALUE_BYTES);
	int result = R_FAILED;
	ssize_t len;

	if (!names || !value)
		goto out;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->local);
	len = listxattr(path, names, LIST_BYTES);
	result = len >= 0 || errno == EOPNOTSUPP ? R_OK : R_FAILED;
	for (ssize_t at = 0; result == R_OK && at < len; at += (ssize_t)strlen(names + at) + 1)
		if (is_kept(names + at))
			result = take_xattr(take, path, names + at, entry, value);
	if (result != R_OK)
		warn_errno("%s: cannot read its extended attributes", taken_file_name(f));
out:
	free(names);
	free(value);
	return result;
}

int ghost_traits_take(struct fds_take *take, const struct taken_file *f, int fd,
		      SnapGhostEntry *entry)
{
	int flags;

	if (take_xattrs(take, f, entry) != R_OK)
		return R_FAILED;
	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		entry->has_inode_flags = true;
		entry->inode_flags = (uint32_t)flags & (EARLY_FLAGS | LATE_FLAGS);
	}
	return R_OK;
}

/* Sets those of `mask` as they were; R_FAILED with errno set. */
static int set_flags(const struct ghost *ghost, uint32_t mask)
{
	char path[64];
	int fd, flags, result = R_FAILED, saved;
	uint32_t want;

	if (!ghost->more || !ghost->more->has_inode_flags)
		return R_OK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ghost->master);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return R_FAILED;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) {
		result = ghost->more->inode_flags & mask ? R_FAILED : R_OK;
	} else {
		want = ((uint32_t)flags & ~mask) | (ghost->more->inode_flags & mask);
		result = want == (uint32_t)flags || ioctl(fd, FS_IOC_SETFLAGS, &want) == 0
			     ? R_OK
			     : R_FAILED;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

void ghost_early_flags(const struct ghost *ghost)
{
	set_flags(ghost, EARLY_FLAGS);
}

int ghost_dress(const struct ghost *ghost, const char *name)
{
	const GhostFileEntry *entry = ghost->entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", ghost->master);
	if (fchownat(ghost->master, "", entry->uid, entry->gid, AT_EMPTY_PATH) != 0 ||
	    (!S_ISLNK(entry->mode) && chmod(path, entry->mode & 07777) != 0)) {
		warn_errno("%s: cannot give the deleted file its owner and mode", name);
		return R_FAILED;
	}
	for (size_t i = 0; ghost->more && i < ghost->more->n_xattrs; i++) {
		const SnapXattr *xattr = ghost->more->xattrs[i];

		if (setxattr(path, xattr->name, xattr->value.data, xattr->value.len, 0) == 0)
			continue;
		warn_errno("%s: cannot give the deleted file its attribute %s; a file system that "
			   "has such, and the right to set it, are needed",
			   name, xattr->name);
		return R_FAILED;
	}
	return R_OK;
}

static int set_times(const struct ghost *ghost)
{
	const GhostFileEntry *entry = ghost->entry;
	const SnapGhostEntry *more = ghost->more;
	struct timespec times[2] = { 0 };

	if (more && more->has_mtime_sec) {
		times[0] = (struct timespec){ more->atime_sec, more->atime_nsec };
		times[1] = (struct timespec){ more->mtime_sec, more->mtime_nsec };
	} else if (entry->atim && entry->mtim) {
		times[0] = (struct timespec){ (time_t)entry->atim->tv_sec,
					      (long)entry->atim->tv_usec * 1000 };
		times[1] = (struct timespec){ (time_t)entry->mtim->tv_sec,
					      (long)entry->mtim->tv_usec * 1000 };
	} else {
		return R_OK;
	}
	return utimensat(ghost->master, "", times, AT_EMPTY_PATH) == 0 ? R_OK : R_FAILED;
}

int ghost_finish(const struct ghost *ghost)
{
	if (set_times(ghost) != R_OK) {
		warn_errno("deleted file %u: cannot set its times", ghost->id);
		return R_FAILED;
	}
	if (set_flags(ghost, LATE_FLAGS) == R_OK)
		return R_OK;
	warn_errno(
	    "deleted file %u: cannot set its flags %x; a file system that has them is needed",
	    ghost->id, ghost->more->inode_flags);
	return R_FAILED;
}
