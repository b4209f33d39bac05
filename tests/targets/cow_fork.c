/* A parent and children that share pages copy-on-write: each has its own contents afterwards. */
#include "target.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (512 * 4096UL)
#define CHILDREN 3

int main(void)
{
	unsigned char *p =
	    mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t children[CHILDREN];
	int go[2];
	char byte;

	CHECK(p != MAP_FAILED && !pipe(go));
	pattern_fill(p, BYTES, 1);
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (!children[i]) {
			pattern_fill(p + i * 40960, 40960, 50 + i);
			CHECK(read(go[0], &byte, 1) == 1);
			CHECK(pattern_differs(p + i * 40960, 40960, 50 + i) == 40960);
			pattern_fill(p, BYTES, 70 + i);
			CHECK(pattern_differs(p, BYTES, 70 + i) == BYTES);
			_exit(0);
		}
	}
	usleep(30000);

	target_ready();

	CHECK(write(go[1], "abc", CHILDREN) == CHILDREN);
	for (int i = 0; i < CHILDREN; i++)
		expect_child_ok(children[i]);
	CHECK(pattern_differs(p, BYTES, 1) == BYTES);
	target_pass();
}
