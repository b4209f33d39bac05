/* Deleted files with holes: immense and nearly empty, in fragments, with zeroes that are written,
 * with room that is only reserved, with data that is not in whole pages.  What is allocated is so
 * again, and no more. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE 4096
#define FRAGMENTS 2000

enum { IMMENSE, FRAGMENTED, ZEROES, RESERVED, UNALIGNED, EMPTY, FILES };
static const char *const names[FILES] = { "immense",  "fragmented", "zeroes",
					  "reserved", "unaligned",  "empty" };

static void fragment(unsigned char *page, uint32_t i)
{
	pattern_fill(page, PAGE, i + 1);
}

static void expect_zero(int fd, off_t at, size_t bytes)
{
	unsigned char back[PAGE], zero[PAGE] = { 0 };

	for (; bytes > 0; at += PAGE, bytes -= PAGE)
		CHECK(pread(fd, back, PAGE, at) == PAGE && !memcmp(back, zero, PAGE));
}

/* XFS counts the blocks of its list of extents, too, which are fuller or emptier by the order they
 * came in: 7 for these fragments where they made the file grow, 8 where it had its length before.
 * What it reserves behind the end of a file that grows is restored as any reserved room, first of
 * all, and makes a few more.  Files of few extents have no such blocks, and no slack. */
static long long slack(int fd, int file)
{
	struct statfs fs;

	CHECK(!fstatfs(fd, &fs));
	return fs.f_type == XFS_SUPER_MAGIC && file == FRAGMENTED ? 64 : 0;
}

int main(void)
{
	unsigned char page[PAGE], back[PAGE], zero[PAGE] = { 0 };
	off_t far = ((off_t)1 << 40) - PAGE;
	struct stat before[FILES], st;
	int fd[FILES], reserved, big;

	for (int i = 0; i < FILES; i++) {
		fd[i] = open(names[i], O_RDWR | O_CREAT | O_TRUNC, 0600);
		CHECK(fd[i] >= 0);
	}
	pattern_fill(page, PAGE, 99);
	big = ftruncate(fd[IMMENSE], far + PAGE) == 0;
	CHECK(big || errno == EFBIG);
	CHECK(pwrite(fd[IMMENSE], page, PAGE, 123 * PAGE) == PAGE);
	CHECK(!big || pwrite(fd[IMMENSE], page, PAGE, far) == PAGE);
	for (uint32_t i = 0; i < FRAGMENTS; i++) {
		fragment(page, i);
		CHECK(pwrite(fd[FRAGMENTED], page, PAGE, (off_t)i * 2 * PAGE) == PAGE);
	}
	CHECK(pwrite(fd[ZEROES], zero, PAGE, 8 * PAGE) == PAGE);
	CHECK(!ftruncate(fd[ZEROES], 32 * PAGE));
	reserved = fallocate(fd[RESERVED], FALLOC_FL_KEEP_SIZE, 0, 64 * PAGE) == 0;
	CHECK(reserved || errno == EOPNOTSUPP);
	CHECK(pwrite(fd[RESERVED], "reserved", 8, 10 * PAGE) == 8);
	CHECK(pwrite(fd[UNALIGNED], "one", 3, 1024) == 3);
	CHECK(pwrite(fd[UNALIGNED], "two", 3, 5 * PAGE + 2048 + 1) == 3);
	CHECK(pwrite(fd[UNALIGNED], "end", 3, 9 * PAGE + 100) == 3);
	for (int i = 0; i < FILES; i++) {
		CHECK(!fsync(fd[i]) && !fstat(fd[i], &before[i]) && !unlink(names[i]));
	}
	/* Not yet where it belongs on the disk when the snapshot is taken. */
	fragment(page, 0);
	CHECK(pwrite(fd[FRAGMENTED], page, PAGE, 0) == PAGE);
	CHECK(pwrite(fd[RESERVED], "again", 5, 20 * PAGE) == 5);

	target_ready();

	for (int i = 0; i < FILES; i++) {
		CHECK(access(names[i], F_OK) && !fsync(fd[i]) && !fstat(fd[i], &st));
		CHECK(st.st_nlink == 0 && (i == RESERVED || st.st_size == before[i].st_size));
		/* Reserved room is not told by every file system (tmpfs). */
		if (llabs((long long)(st.st_blocks - before[i].st_blocks)) > slack(fd[i], i) &&
		    (i != RESERVED || !reserved))
			target_fail("%s: %lld blocks, had %lld", names[i], (long long)st.st_blocks,
				    (long long)before[i].st_blocks);
	}
	pattern_fill(page, PAGE, 99);
	CHECK(pread(fd[IMMENSE], back, PAGE, 123 * PAGE) == PAGE && !memcmp(back, page, PAGE));
	CHECK(!big || (pread(fd[IMMENSE], back, PAGE, far) == PAGE && !memcmp(back, page, PAGE)));
	expect_zero(fd[IMMENSE], 0, PAGE);
	for (uint32_t i = 0; i < FRAGMENTS; i++) {
		fragment(page, i);
		CHECK(pread(fd[FRAGMENTED], back, PAGE, (off_t)i * 2 * PAGE) == PAGE);
		CHECK(!memcmp(back, page, PAGE));
		if (i + 1 < FRAGMENTS)
			expect_zero(fd[FRAGMENTED], (off_t)(i * 2 + 1) * PAGE, PAGE);
	}
	expect_zero(fd[ZEROES], 0, 32 * PAGE);
	CHECK(lseek(fd[ZEROES], 0, SEEK_DATA) == 8 * PAGE);
	CHECK(pread(fd[RESERVED], back, 8, 10 * PAGE) == 8 && !memcmp(back, "reserved", 8));
	CHECK(pread(fd[RESERVED], back, 5, 20 * PAGE) == 5 && !memcmp(back, "again", 5));
	expect_zero(fd[RESERVED], 0, 10 * PAGE);
	CHECK(pread(fd[UNALIGNED], back, 3, 1024) == 3 && !memcmp(back, "one", 3));
	CHECK(pread(fd[UNALIGNED], back, 3, 5 * PAGE + 2049) == 3 && !memcmp(back, "two", 3));
	CHECK(pread(fd[UNALIGNED], back, 9, 9 * PAGE + 100) == 3 && !memcmp(back, "end", 3));
	target_pass();
}
