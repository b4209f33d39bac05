/* Shared anonymous memory of a parent and a child, one mapping at two sizes, still shared after. */
#include "target.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (256 * 4096UL)

int main(void)
{
	unsigned char *shared =
	    mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_int *word = (atomic_int *)shared;
	pid_t child;

	CHECK(shared != MAP_FAILED);
	pattern_fill(shared + 4096, BYTES / 2, 9);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		/* The child sees only the second half of it. */
		CHECK(!munmap(shared + 4096, 4096));
		shared[BYTES - 1] = 1;
		while (*word != 1)
			usleep(1000);
		CHECK(shared[BYTES - 1] == 1);
		shared[BYTES - 2] = 42;
		*word = 2;
		_exit(0);
	}
	while (!((volatile unsigned char *)shared)[BYTES - 1])
		usleep(1000);

	target_ready();

	CHECK(pattern_differs(shared + 4096, BYTES / 2, 9) == BYTES / 2);
	CHECK(shared[BYTES - 1] == 1 && shared[BYTES - 3] == 0);
	*word = 1;
	for (int i = 0; i < 5000 && *word != 2; i++)
		usleep(1000);
	CHECK(*word == 2);
	CHECK(shared[BYTES - 2] == 42);
	expect_child_ok(child);
	target_pass();
}
