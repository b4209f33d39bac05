/* mlock of ranges that not every page can be brought in of: with a guard page, without access,
 * behind the end of a file.  They are locked all the same. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define PAGE 4096UL
#define PAGES 16
#define RANGES 3

/* Is the mapping at `start` locked, as the line VmFlags of it says? */
static int is_locked(const void *start)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	int inside = 0, locked = -1;
	unsigned long from, to;
	char line[512];

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= (unsigned long)start && (unsigned long)start < to;
		if (inside && !strncmp(line, "VmFlags:", 8))
			locked = strstr(line, " lo ") != NULL;
	}
	fclose(f);
	CHECK(locked >= 0);
	return locked;
}

static unsigned char *map(int flags, int fd)
{
	unsigned char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

int main(void)
{
	unsigned char *range[RANGES];
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	for (int i = 0; i < RANGES; i++) {
		range[i] = i < 2 ? map(MAP_PRIVATE | MAP_ANONYMOUS, -1) : map(MAP_SHARED, fd);
		pattern_fill(range[i], PAGE, i);
	}
	NEED(!madvise(range[0] + 5 * PAGE, PAGE, MADV_GUARD_INSTALL));
	CHECK(!mprotect(range[1], PAGES * PAGE, PROT_NONE));
	for (int i = 0; i < RANGES; i++) {
		CHECK(mlock(range[i], PAGES * PAGE) && errno == ENOMEM);
		CHECK(is_locked(range[i]));
	}

	target_ready();

	for (int i = 0; i < RANGES; i++)
		if (!is_locked(range[i]))
			target_fail("range %d is not locked any more", i);
	CHECK(!mprotect(range[1], PAGES * PAGE, PROT_READ));
	for (int i = 0; i < RANGES; i++)
		CHECK(pattern_differs(range[i], PAGE, i) == PAGE);
	target_pass();
}
