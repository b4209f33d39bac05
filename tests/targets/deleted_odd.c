/* Deleted and not an ordinary file under its own name: a folder, a folder with what was in it, a
 * file whose name another file has now, one that never had a name, a device, a FIFO with contents,
 * a file with holes. */
#include "target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define HOLE_BYTES (3 << 20)

int main(void)
{
	int folder, inner, replaced, nameless, device, fifo, holes, again;
	struct timespec old[2] = { { 1000000000, 0 }, { 1100000000, 0 } };
	char back[100];
	struct stat st;

	CHECK(!mkdir("folder", 0750) && !mkdir("folder/deep", 0700));
	folder = open("folder", O_RDONLY | O_DIRECTORY);
	inner = open("folder/deep/inner", O_RDWR | O_CREAT, 0600);
	CHECK(write(inner, "inner", 5) == 5 && !unlink("folder/deep/inner"));
	CHECK(!rmdir("folder/deep") && !rmdir("folder"));
	replaced = open("name", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(replaced, "old", 3) == 3 && !futimens(replaced, old) && !unlink("name"));
	again = open("name", O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(write(again, "newer", 5) == 5);
	nameless = open(".", O_RDWR | O_TMPFILE, 0600);
	NEED(nameless >= 0);
	CHECK(write(nameless, "nameless", 8) == 8);
	NEED(!mknod("device", S_IFCHR | 0600, makedev(1, 3)));
	device = open("device", O_RDWR);
	CHECK(device >= 0 && !unlink("device"));
	CHECK(!mkfifo("fifo", 0600));
	fifo = open("fifo", O_RDWR);
	CHECK(write(fifo, "fifo", 4) == 4 && !unlink("fifo"));
	holes = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(pwrite(holes, "far", 3, HOLE_BYTES) == 3 && pwrite(holes, "near", 4, 5000) == 4);
	CHECK(!unlink("holes"));

	target_ready();

	CHECK(access("folder", F_OK) && access("device", F_OK) && access("fifo", F_OK));
	CHECK(!fstat(folder, &st) && S_ISDIR(st.st_mode) && st.st_nlink == 0);
	CHECK(openat(folder, "x", O_WRONLY | O_CREAT, 0600) < 0);
	CHECK(pread(inner, back, 100, 0) == 5 && !memcmp(back, "inner", 5));
	CHECK(pread(replaced, back, 100, 0) == 3 && !memcmp(back, "old", 3));
	CHECK(!fstat(replaced, &st) && st.st_nlink == 0 && st.st_mtim.tv_sec == 1100000000);
	CHECK(!fstat(again, &st) && st.st_nlink == 1 && st.st_size == 5);
	CHECK(pread(nameless, back, 100, 0) == 8 && !memcmp(back, "nameless", 8));
	CHECK(!fstat(device, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	CHECK(write(device, "x", 1) == 1 && read(device, back, 1) == 0);
	CHECK(read(fifo, back, 100) == 4 && !memcmp(back, "fifo", 4));
	CHECK(!fstat(fifo, &st) && S_ISFIFO(st.st_mode) && st.st_nlink == 0);
	CHECK(!fstat(holes, &st) && st.st_size == HOLE_BYTES + 3 && st.st_blocks < 1000);
	CHECK(pread(holes, back, 4, 5000) == 4 && !memcmp(back, "near", 4));
	CHECK(pread(holes, back, 3, HOLE_BYTES) == 3 && !memcmp(back, "far", 3));
	CHECK(pread(holes, back, 1, HOLE_BYTES / 2) == 1 && back[0] == 0);
	target_pass();
}
