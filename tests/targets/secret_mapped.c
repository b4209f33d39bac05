/* memfd_secret(2) that is mapped and not open any more: readable, not readable, not for children,
 * in part; in a task that may not lock as much, and has given up its privileges. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096L

static unsigned char *make(long pages, uint32_t seed)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	unsigned char *p;

	NEED(fd >= 0 && !ftruncate(fd, pages * PAGE));
	p = mmap(NULL, (size_t)(pages * PAGE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(p != MAP_FAILED);
	pattern_fill(p, (size_t)(pages * PAGE), seed);
	CHECK(!close(fd));
	return p;
}

static void in_child(unsigned char *plain, unsigned char *part)
{
	char byte;

	CHECK(pattern_differs(plain, 40 * PAGE, 1) == 40 * PAGE);
	byte = (char)part[0];
	part[0] = (unsigned char)(byte + 1);
	_exit(0);
}

int main(void)
{
	unsigned char *plain = make(40, 1), *hidden = make(20, 2), *alone = make(3, 3);
	unsigned char *part = make(6, 4), *all;
	struct rlimit limit = { PAGE, PAGE }, now;
	pid_t child;
	int go[2];
	char byte;

	CHECK(!mprotect(hidden, 20 * PAGE, PROT_NONE));
	CHECK(!madvise(alone, 3 * PAGE, MADV_DONTFORK));
	/* One page is left, and by way of it all that comes behind. */
	CHECK(!munmap(part, 2 * PAGE) && !munmap(part + 3 * PAGE, 3 * PAGE));
	part += 2 * PAGE;
	CHECK(!pipe(go));
	child = fork();
	if (!child) {
		CHECK(read(go[0], &byte, 1) == 1);
		in_child(plain, part);
	}
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	CHECK(!chmod(".", 0777) && !setgid(65534) && !setuid(65534));

	target_ready();

	CHECK(!getrlimit(RLIMIT_MEMLOCK, &now) && now.rlim_cur == PAGE && now.rlim_max == PAGE);
	CHECK(pattern_differs(plain, 40 * PAGE, 1) == 40 * PAGE);
	CHECK(!mprotect(hidden, 20 * PAGE, PROT_READ));
	CHECK(pattern_differs(hidden, 20 * PAGE, 2) == 20 * PAGE);
	CHECK(pattern_differs(alone, 3 * PAGE, 3) == 3 * PAGE);
	byte = (char)part[0];
	CHECK(write(go[1], "g", 1) == 1);
	expect_child_ok(child);
	CHECK(part[0] == (unsigned char)(byte + 1));
	part[0] = (unsigned char)byte;
	/* A second mapping of the same memory, from here to its end, in a child that may. */
	child = fork();
	if (!child) {
		unsigned char *expected = malloc(6 * PAGE);

		all = mremap(part, 0, 4 * PAGE, MREMAP_MAYMOVE);
		CHECK(expected && all != MAP_FAILED);
		pattern_fill(expected, 6 * PAGE, 4);
		CHECK(!memcmp(all, expected + 2 * PAGE, 4 * PAGE));
		_exit(0);
	}
	expect_child_ok(child);
	target_pass();
}
