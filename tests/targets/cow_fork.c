/* A parent and children that share pages copy-on-write: each has its own contents afterwards. */
#include "target.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (512 * 4096UL)
#define CHILDREN 3
#define PARTS 4
#define PART (16 * 4096UL)

/* Ranges that the parent divides after its fork, in other ways than by what is in them: the child's
 * begins as the parent's does and goes on where the parent has another.  Even ones have contents in
 * both halves, odd ones in the second one only; the last two cannot be read by anybody. */
static unsigned char *parts[PARTS];

static void map_parts(void)
{
	for (int i = 0; i < PARTS; i++) {
		/* with a gap behind, so that no range is part of another */
		parts[i] = mmap(NULL, PART + 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(parts[i] != MAP_FAILED && !munmap(parts[i] + PART, 4096));
		pattern_fill(parts[i] + PART / 2, PART / 2, 90 + i);
		if (i % 2 == 0)
			pattern_fill(parts[i], PART / 2, 80 + i);
		if (i >= PARTS / 2)
			CHECK(!mprotect(parts[i], PART, PROT_NONE));
	}
}

static void divide_parts(void)
{
	for (int i = 0; i < PARTS; i++)
		CHECK(!madvise(parts[i] + PART / 2, PART / 2, MADV_NOHUGEPAGE));
}

static void check_parts(void)
{
	for (int i = 0; i < PARTS; i++) {
		CHECK(!mprotect(parts[i], PART, PROT_READ));
		CHECK(pattern_differs(parts[i] + PART / 2, PART / 2, 90 + i) == PART / 2);
		if (i % 2 == 0)
			CHECK(pattern_differs(parts[i], PART / 2, 80 + i) == PART / 2);
	}
}

int main(void)
{
	unsigned char *p =
	    mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t children[CHILDREN];
	int go[2];
	char byte;

	CHECK(p != MAP_FAILED && !pipe(go));
	pattern_fill(p, BYTES, 1);
	map_parts();
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (!children[i]) {
			pattern_fill(p + i * 40960, 40960, 50 + i);
			CHECK(read(go[0], &byte, 1) == 1);
			CHECK(pattern_differs(p + i * 40960, 40960, 50 + i) == 40960);
			check_parts();
			pattern_fill(p, BYTES, 70 + i);
			CHECK(pattern_differs(p, BYTES, 70 + i) == BYTES);
			_exit(0);
		}
	}
	divide_parts();
	usleep(30000);

	target_ready();

	CHECK(write(go[1], "abc", CHILDREN) == CHILDREN);
	for (int i = 0; i < CHILDREN; i++)
		expect_child_ok(children[i]);
	CHECK(pattern_differs(p, BYTES, 1) == BYTES);
	check_parts();
	target_pass();
}
