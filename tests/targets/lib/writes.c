#include "writes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "target.h"

#define HUGE (2UL << 20)
#define HUGE_PAGES 3

/* Of newer headers. */
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_DONTNEED_LOCKED 24
#define ADVICE_COLLAPSE 25
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

/* Aligned, so that the kernel may use huge pages of it at once. */
static unsigned char *huge;

void open_huge(void)
{
	unsigned char *at = mmap(NULL, (HUGE_PAGES + 1) * HUGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	huge = (unsigned char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
	madvise(huge, HUGE_PAGES * HUGE, MADV_HUGEPAGE);
	for (int i = 0; i < HUGE_PAGES; i++)
		huge[i * HUGE + 5000] = 1;
}

/* With its page table, to where another was. */
static void move_huge(unsigned char *at)
{
	if (at == huge)
		return;
	CHECK(mremap(at, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, huge) == huge);
	CHECK(mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == at);
	madvise(at, HUGE, MADV_HUGEPAGE);
}

void write_huge(void)
{
	unsigned char *at = huge + HUGE * rnd(HUGE_PAGES), *page = at + rnd(HUGE / PAGE) * PAGE;

	switch (rnd(8)) {
	case 0:
		CHECK(!madvise(at, HUGE, MADV_DONTNEED));
		if (rnd(2)) /* else nothing is left, and no page table */
			at[rnd(HUGE)]++;
		break;
	case 1:
		CHECK(!madvise(page, PAGE, MADV_DONTNEED));
		break;
	case 2:
		madvise(at, HUGE, ADVICE_COLLAPSE);
		break;
	case 3: /* in two, by way of its range */
		CHECK(!mprotect(page, PAGE, PROT_READ));
		CHECK(!mprotect(page, PAGE, PROT_READ | PROT_WRITE));
		break;
	case 4:
		move_huge(at);
		break;
	default:
		page[rnd(PAGE)]++;
	}
}

void write_forbidden(const struct slot *s)
{
	unsigned char *at = s->at + rnd(s->pages) * PAGE + rnd(PAGE - 8);
	uint64_t value = rnd(UINT64_MAX);
	int fd = -1;

	if (!s->shared)
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	CHECK(pwrite(fd, &value, 8, (off_t)(uintptr_t)at) == 8 || errno == EIO);
	close(fd);
}

void write_parent(unsigned char *at, size_t len)
{
	uint64_t value = rnd(UINT64_MAX);
	struct iovec from = { &value, 8 }, to = { at + rnd(len - 8), 8 };

	/* The parent may have ended. */
	process_vm_writev(getppid(), &from, 1, &to, 1, 0);
}

void write_stack(int levels)
{
	volatile char room[3 * PAGE];

	room[rnd(sizeof(room))] = (char)levels;
	if (levels > 0)
		write_stack(levels - 1);
	room[0] = room[1];
}

void rearrange_guards(const struct slot *s)
{
	size_t from = rnd(s->pages), most = s->pages - from, n = 1 + rnd(most < 9 ? most : 9);
	unsigned char *at = s->at + from * PAGE;

	if (s->shared || !(s->prot & PROT_WRITE))
		return;
	/* What was there is gone, and pages of zeroes come back. */
	if (!madvise(at, n * PAGE, ADVICE_GUARD_INSTALL) && rnd(3) == 0)
		usleep(2000);
	madvise(at, n * PAGE, ADVICE_GUARD_REMOVE);
	if (rnd(2))
		madvise(at, n * PAGE, ADVICE_POPULATE_WRITE);
	if (rnd(2))
		mlock(at, n * PAGE);
	else
		munlock(at, n * PAGE);
	madvise(at, n * PAGE, ADVICE_DONTNEED_LOCKED);
}
