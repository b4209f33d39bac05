/* A tree 4 deep and 50 wide: 50 children, each the head of a chain three further down; ids, parents
 * and the way results climb up. */
#include "target.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDE 50
#define DEEP 4

struct node {
	volatile pid_t pid, parent;
};

static struct node (*nodes)[DEEP];
static volatile int *judged;

static void live(int chain, int level)
{
	pid_t child = 0;

	nodes[chain][level].parent = getppid();
	if (level + 1 < DEEP) {
		child = fork();
		CHECK(child >= 0);
		if (!child) {
			live(chain, level + 1);
			_exit(0);
		}
	}
	nodes[chain][level].pid = getpid();
	while (!*judged)
		usleep(20000);
	CHECK(getpid() == nodes[chain][level].pid);
	CHECK(getppid() == nodes[chain][level].parent);
	if (child)
		expect_child_ok(child);
}

int main(void)
{
	pid_t children[WIDE];

	nodes = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(nodes != MAP_FAILED);
	judged = (int *)((char *)nodes + 61440);
	for (int i = 0; i < WIDE; i++) {
		children[i] = fork();
		CHECK(children[i] >= 0);
		if (!children[i]) {
			live(i, 0);
			_exit(0);
		}
	}
	for (int i = 0; i < WIDE; i++)
		for (int level = 0; level < DEEP; level++)
			while (!nodes[i][level].pid)
				usleep(1000);

	target_ready();

	*judged = 1;
	for (int i = 0; i < WIDE; i++) {
		CHECK(nodes[i][0].pid == children[i]);
		expect_child_ok(children[i]);
	}
	CHECK(wait(NULL) < 0);
	target_pass();
}
