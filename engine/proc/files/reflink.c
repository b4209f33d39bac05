#include "engine/proc/files/reflink.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/dqblk_xfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "engine/proc/files/cachestat.h"

/* <linux/magic.h> does not have it. */
#define BCACHEFS_MAGIC 0xca451a4eu
/* The C library does not know it. */
#define SYS_QUOTACTL_FD 443
/* Extents of less than that on average are quicker to read than to clone. */
#define EXTENT_MIN_BYTES (128u << 10)
/* A page to be written to disk first may cost as much as reading so many from memory.  Of few, most
 * were not written to: the kernel counts a folio, of up to 512 pages, as a whole. */
#define PAGES_FOR_DIRTY 64u
#define PAGES_FOR_FEW_DIRTY 16u
#define FEW_DIRTY_PAGES 1024u
#define PAGE 4096u
/* Left over for everybody else while the file may be rewritten whole. */
#define SPARE_BYTES (64ull << 20)

bool reflink_can(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return false;
	/* An overlay can where the file system below it can, which does not show. */
	return fs.f_type == XFS_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC ||
	       (unsigned long)fs.f_type == BCACHEFS_MAGIC || fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

void reflink_flush(int fd)
{
	sync_file_range(fd, 0, 0,
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER);
}

/* Is so little of it not on the disk yet that writing that is quick? */
static bool is_flushed(int fd, const struct stat *st)
{
	uint64_t pages = (uint64_t)st->st_size / PAGE, dirty;
	struct cache_pages stat;

	if (!cache_pages_of(fd, &stat))
		return false;
	dirty = stat.dirty + stat.writeback;
	return dirty <= pages / PAGES_FOR_DIRTY ||
	       (dirty <= FEW_DIRTY_PAGES && dirty <= pages / PAGES_FOR_FEW_DIRTY);
}

static bool is_in_few_pieces(int fd, const struct stat *st)
{
	struct fiemap map = { .fm_length = FIEMAP_MAX_OFFSET };

	return ioctl(fd, FS_IOC_FIEMAP, &map) == 0 &&
	       (uint64_t)map.fm_mapped_extents * EXTENT_MIN_BYTES <= (uint64_t)st->st_blocks * 512;
}

/* Limits of users and projects: none of XFS that count. */
static bool has_quota_xfs(int fd)
{
	struct fs_quota_stat stat = { .qs_version = FS_QSTAT_VERSION };

	return syscall(SYS_QUOTACTL_FD, fd, QCMD(Q_XGETQSTAT, USRQUOTA), 0, &stat) == 0 &&
	       stat.qs_flags & (FS_QUOTA_UDQ_ENFD | FS_QUOTA_GDQ_ENFD | FS_QUOTA_PDQ_ENFD);
}

/* The kernel shows the groups of a btrfs that counts. */
static bool has_quota_btrfs(int fd)
{
	struct btrfs_ioctl_fs_info_args info = { 0 };
	const uint8_t *id = info.fsid;
	char path[96];

	if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) != 0)
		return false;
	snprintf(path, sizeof(path),
		 "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x"
		 "%02x/qgroups",
		 id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10],
		 id[11], id[12], id[13], id[14], id[15]);
	return access(path, F_OK) == 0;
}

/* What the target writes over data that is in two files needs room of its own: as long as there
 * are two, it must not lack what it would not have needed. */
static bool has_room(int fd, const struct stat *st)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize >=
		   (uint64_t)st->st_blocks * 512 + SPARE_BYTES &&
	       !has_quota_xfs(fd) && !has_quota_btrfs(fd);
}

static int open_nameless(const struct stat *st, const char *path)
{
	char copy[PATH_MAX], *dir = copy;
	struct stat at;

	if (path[0] != '/' || (size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return -1;
	do {
		dir = dirname(dir);
		if (stat(dir, &at) == 0 && at.st_dev == st->st_dev)
			return open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	} while (dir[1] != '\0');
	return -1;
}

int reflink_open(int fd, const char *path)
{
	struct stat st, cloned;
	int clone;

	if (fstat(fd, &st) != 0 || st.st_blocks * 512 < (off_t)REFLINK_MIN_BYTES ||
	    !reflink_can(fd) || !is_flushed(fd, &st) || !is_in_few_pieces(fd, &st) ||
	    !has_room(fd, &st))
		return -1;
	clone = open_nameless(&st, path);
	if (clone >= 0 && ioctl(clone, FICLONE, fd) == 0 && fstat(clone, &cloned) == 0 &&
	    cloned.st_size == st.st_size)
		return clone;
	if (clone >= 0)
		close(clone);
	return -1;
}
