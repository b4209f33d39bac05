/* Pages that parent, child and grandchild share copy-on-write are still shared afterwards, and only
 * those: written, dropped and zeroed pages, heaps of different ends, read-only memory, private file
 * mappings, ranges that fork leaves out or wipes. */
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES 256UL
#define RANGES 6

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* data, read-only, file, heap, dontfork, wipeonfork */
static unsigned char *range[RANGES];
static unsigned char *old_break;
static size_t shared_before[2];

static uint64_t frame(int pagemap, void *address)
{
	uint64_t entry = 0;

	CHECK(pread(pagemap, &entry, 8, (off_t)((uintptr_t)address / PAGE * 8)) == 8);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* How many pages of the first four ranges are the same memory here and in process `pid`. */
static size_t count_shared(int pid)
{
	char path[64];
	size_t n = 0;
	int here = open("/proc/self/pagemap", O_RDONLY), there;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	there = open(path, O_RDONLY);
	CHECK(here >= 0 && there >= 0);
	for (int i = 0; i < 4; i++)
		for (size_t k = 0; k < PAGES; k++) {
			uint64_t f = frame(here, range[i] + k * PAGE);

			n += f && f == frame(there, range[i] + k * PAGE);
		}
	close(here);
	close(there);
	return n;
}

static void set_up(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (int i = 0; i < RANGES; i++) {
		if (i == 2 || i == 3)
			continue;
		/* a page between them, so that they stay apart */
		range[i] =
		    mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(range[i] != MAP_FAILED);
		range[i] += PAGE;
		CHECK(!mprotect(range[i], PAGES * PAGE, PROT_READ | PROT_WRITE));
		pattern_fill(range[i], PAGES * PAGE, 100 + i);
	}
	CHECK(!mprotect(range[1], PAGES * PAGE, PROT_READ));
	CHECK(fd >= 0 && !ftruncate(fd, PAGES * PAGE));
	range[2] = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(range[2] != MAP_FAILED && !close(fd));
	pattern_fill(range[2], PAGES * PAGE, 102);
	old_break = sbrk(0);
	range[3] = (unsigned char *)(((uintptr_t)old_break + PAGE) & ~(PAGE - 1));
	CHECK(!brk(range[3] + PAGES * PAGE));
	pattern_fill(range[3], PAGES * PAGE, 103);
	CHECK(!madvise(range[4], PAGES * PAGE, MADV_DONTFORK));
	CHECK(!madvise(range[5], PAGES * PAGE, MADV_WIPEONFORK));
}

/* What a task of this depth has of its own. */
static void change(int depth)
{
	pattern_fill(range[0] + depth * 10 * PAGE, 5 * PAGE, 10 + depth);
	CHECK(!madvise(range[0] + (depth * 10 + 5) * PAGE, PAGE, MADV_DONTNEED));
	memset(range[2] + depth * 10 * PAGE, 0, PAGE);
	CHECK(!madvise(range[2] + (depth * 10 + 5) * PAGE, PAGE, MADV_DONTNEED));
	/* one grows, the next shrinks */
	if (depth == 1) {
		CHECK(!brk(range[3] + (PAGES + 7) * PAGE));
		pattern_fill(range[3] + PAGES * PAGE, 7 * PAGE, 20);
	} else {
		CHECK(!brk(range[3] + (PAGES - 3) * PAGE));
	}
}

static int all_zero(const unsigned char *p)
{
	for (size_t i = 0; i < PAGE; i++)
		if (p[i])
			return 0;
	return 1;
}

static void judge(int depth)
{
	for (int d = 1; d <= depth; d++) {
		CHECK(pattern_differs(range[0] + d * 10 * PAGE, 5 * PAGE, 10 + d) == 5 * PAGE);
		CHECK(all_zero(range[0] + (d * 10 + 5) * PAGE));
		CHECK(all_zero(range[2] + d * 10 * PAGE) &&
		      all_zero(range[2] + (d * 10 + 5) * PAGE));
	}
	CHECK(pattern_differs(range[1], PAGES * PAGE, 101) == PAGES * PAGE);
	CHECK(pattern_differs(range[3], (PAGES - 3) * PAGE, 103) == (PAGES - 3) * PAGE);
	if (depth == 1)
		CHECK(pattern_differs(range[3] + PAGES * PAGE, 7 * PAGE, 20) == 7 * PAGE);
	CHECK(sbrk(0) == range[3] + (depth == 0	  ? PAGES
				     : depth == 1 ? PAGES + 7
						  : PAGES - 3) *
					PAGE);
	if (depth == 0) {
		CHECK(pattern_differs(range[0], PAGES * PAGE, 100) == PAGES * PAGE);
		CHECK(pattern_differs(range[2], PAGES * PAGE, 102) == PAGES * PAGE);
		CHECK(pattern_differs(range[4], PAGES * PAGE, 104) == PAGES * PAGE);
		CHECK(pattern_differs(range[5], PAGES * PAGE, 105) == PAGES * PAGE);
	} else {
		CHECK(msync(range[4], PAGE, MS_ASYNC) == -1);
		CHECK(all_zero(range[5]) && all_zero(range[5] + 100 * PAGE));
	}
	/* the file itself has never been written to */
	CHECK(!mprotect(range[1], PAGES * PAGE, PROT_READ | PROT_WRITE));
	memset(range[1], depth, PAGES * PAGE);
	memset(range[0], depth, PAGES * PAGE);
}

/* Makes the next task, which tells its number through `up` and waits. */
static int make(int depth, int go, int up)
{
	int child = fork();
	char byte;

	CHECK(child >= 0);
	if (child)
		return child;
	change(depth);
	if (depth == 1) {
		int next = make(2, go, up);

		CHECK(read(go, &byte, 1) == 1);
		judge(1);
		expect_child_ok(next);
		_exit(0);
	}
	child = getpid();
	CHECK(write(up, &child, sizeof(child)) == sizeof(child));
	CHECK(read(go, &byte, 1) == 1);
	judge(2);
	_exit(0);
}

int main(void)
{
	int go[2], up[2], child, grandchild;

	target_init();
	CHECK(!pipe(go) && !pipe(up));
	set_up();
	child = make(1, go[0], up[1]);
	CHECK(read(up[0], &grandchild, sizeof(grandchild)) == sizeof(grandchild));
	shared_before[0] = count_shared(child);
	shared_before[1] = count_shared(grandchild);
	NEED(shared_before[0] > 3 * PAGES && shared_before[1] > 3 * PAGES);

	target_ready();

	if (count_shared(child) < shared_before[0] || count_shared(grandchild) < shared_before[1])
		target_fail("%zu and %zu pages are shared instead of %zu and %zu",
			    count_shared(child), count_shared(grandchild), shared_before[0],
			    shared_before[1]);
	judge(0);
	CHECK(write(go[1], "ab", 2) == 2);
	expect_child_ok(child);
	target_pass();
}
