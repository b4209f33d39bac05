/* A huge page that the kernel splits, after which pages of zeroes in it are the shared zero page.
 * When the file `step` appears it has it split, or writes to it if that was done, and removes the
 * file. */
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)

static unsigned char *at;

static void split(void)
{
	/* Of a part of it: there is no other way to give up just that. */
	CHECK(!madvise(at + 300 * PAGE, PAGE, MADV_COLD));
	at[10 * PAGE] = 10;
	at[20 * PAGE] = 20;
}

int main(void)
{
	unsigned char *room =
	    mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[200];

	CHECK(room != MAP_FAILED);
	at = (unsigned char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));
	NEED(!madvise(at, HUGE, MADV_HUGEPAGE));
	at[5 * PAGE] = 5;
	NEED(!proc_line("smaps_rollup", "AnonHugePages:", line, sizeof(line)));
	NEED(strstr(line, " 2048 kB"));

	target_say_ready();
	while (!target_is_judged()) {
		usleep(2000);
		if (access("step", F_OK) != 0)
			continue;
		if (at[10 * PAGE] == 0)
			split();
		else
			at[400 * PAGE]++;
		CHECK(!unlink("step"));
	}
	for (size_t i = 0; i < HUGE; i++)
		if (i != 5 * PAGE && i != 10 * PAGE && i != 20 * PAGE && i != 400 * PAGE)
			CHECK(at[i] == 0);
	CHECK(at[5 * PAGE] == 5);
	target_pass();
}
