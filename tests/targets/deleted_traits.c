/* Deleted files and what they have besides their data: owner, mode, times, extended attributes,
 * access lists, flags that forbid to write. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const unsigned char acl[] = {
	2,  0, 0, 0,			     /* version */
	1,  0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* owner: rw */
	2,  0, 4, 0, 0xd2, 4,	 0,    0,    /* user 1234: r */
	4,  0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* group */
	16, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* mask: rw */
	32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* others */
};

static int set_flags(int fd, int flags)
{
	int now;

	if (ioctl(fd, FS_IOC_GETFLAGS, &now))
		return -1;
	now |= flags;
	return ioctl(fd, FS_IOC_SETFLAGS, &now);
}

static void expect_xattr(int fd, const char *name, const void *value, size_t len)
{
	char back[200];

	CHECK(fgetxattr(fd, name, back, sizeof(back)) == (ssize_t)len);
	CHECK(!memcmp(back, value, len));
}

int main(void)
{
	struct timespec times[2] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };
	int plain, lists, locked, growing, folder, fifo, flags, has_acl, has_user;
	char link[200], there[200] = "";
	struct stat st;
	ssize_t len;

	plain = open("plain", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(plain, "plain", 5) == 5);
	CHECK(!fchown(plain, 1234, 5678) && !fchmod(plain, 06751));
	has_user = !fsetxattr(plain, "user.colour", "green\0blue", 10, 0);
	CHECK(has_user || errno == EOPNOTSUPP);
	CHECK(!fsetxattr(plain, "trusted.origin", "here", 4, 0));
	CHECK(!fsetxattr(plain, "security.mark", "", 0, 0));
	CHECK(!futimens(plain, times));
	lists = open("lists", O_RDWR | O_CREAT | O_TRUNC, 0600);
	has_acl = !fsetxattr(lists, "system.posix_acl_access", acl, sizeof(acl), 0);
	CHECK(has_acl || errno == EOPNOTSUPP);
	CHECK(!mkdir("folder", 0710));
	folder = open("folder", O_RDONLY | O_DIRECTORY);
	CHECK(!fsetxattr(folder, "trusted.kind", "folder", 6, 0) && !futimens(folder, times));
	CHECK(!mkfifo("fifo", 0640));
	fifo = open("fifo", O_RDWR);
	CHECK(!fsetxattr(fifo, "trusted.kind", "fifo", 4, 0) && !futimens(fifo, times));
	locked = open("locked", O_RDWR | O_CREAT | O_TRUNC, 0400);
	CHECK(write(locked, "locked", 6) == 6 && !futimens(locked, times));
	growing = open("growing", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(growing, "growing", 7) == 7);
	CHECK(!unlink("plain") && !unlink("lists") && !rmdir("folder") && !unlink("fifo"));
	CHECK(!unlink("locked") && !unlink("growing"));
	flags =
	    !set_flags(locked, FS_IMMUTABLE_FL | FS_NODUMP_FL) && !set_flags(growing, FS_APPEND_FL);
	CHECK((len = readlink("/proc/self/fd/3", there, sizeof(there) - 1)) > 0);

	target_ready();

	CHECK((len = readlink("/proc/self/fd/3", link, sizeof(link) - 1)) > 0);
	CHECK(!strncmp(link, there, (size_t)len));
	CHECK(!fstat(plain, &st) && st.st_uid == 1234 && st.st_gid == 5678);
	CHECK(st.st_mode == (S_IFREG | 06751) && st.st_nlink == 0);
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec);
	CHECK(st.st_atim.tv_sec == times[0].tv_sec && st.st_atim.tv_nsec == times[0].tv_nsec);
	if (has_user)
		expect_xattr(plain, "user.colour", "green\0blue", 10);
	expect_xattr(plain, "trusted.origin", "here", 4);
	expect_xattr(plain, "security.mark", "", 0);
	if (has_acl)
		expect_xattr(lists, "system.posix_acl_access", acl, sizeof(acl));
	CHECK(!fstat(lists, &st) && (st.st_mode & 07777) == (has_acl ? 0660 : 0600));
	expect_xattr(folder, "trusted.kind", "folder", 6);
	CHECK(!fstat(folder, &st) && st.st_mode == (S_IFDIR | 0710) && st.st_nlink == 0);
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec);
	expect_xattr(fifo, "trusted.kind", "fifo", 4);
	CHECK(!fstat(fifo, &st) && st.st_mode == (S_IFIFO | 0640));
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec);
	CHECK(pread(locked, link, 100, 0) == 6 && !memcmp(link, "locked", 6));
	CHECK(!fstat(locked, &st) && st.st_mtim.tv_nsec == times[1].tv_nsec);
	if (flags) {
		int now;

		CHECK(!ioctl(locked, FS_IOC_GETFLAGS, &now));
		CHECK((now & (FS_IMMUTABLE_FL | FS_NODUMP_FL)) == (FS_IMMUTABLE_FL | FS_NODUMP_FL));
		CHECK(pwrite(locked, "x", 1, 0) == -1 || fchmod(locked, 0600) == -1);
		CHECK(!ioctl(growing, FS_IOC_GETFLAGS, &now) && (now & FS_APPEND_FL));
		CHECK(ftruncate(growing, 0) == -1);
	}
	target_pass();
}
