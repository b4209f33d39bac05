/* A stack of which a page is locked and another kept out of core dumps, used down to its end. */
#include "target.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL

/* Of all that adjoins it. */
static uintptr_t start_of_stack(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	uintptr_t start, end, before = 0, lowest = 0;
	char line[512];

	NEED(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "%lx-%lx", &start, &end) == 2) {
		if (!lowest || start != before)
			lowest = start;
		before = end;
		if (strstr(line, "[stack]"))
			break;
	}
	fclose(f);
	return lowest;
}

static int marked(const char *mark)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	int n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		n += !strncmp(line, "VmFlags:", 8) && strstr(line, " gd") && strstr(line, mark);
	fclose(f);
	return n;
}

static __attribute__((noinline)) void descend(uintptr_t to, int level)
{
	volatile unsigned char room[2048];

	memset((void *)room, level, sizeof(room));
	if ((uintptr_t)room > to + 3 * PAGE)
		descend(to, level + 1);
	else
		target_ready();
	for (size_t i = 0; i < sizeof(room); i++)
		CHECK(room[i] == (unsigned char)level);
}

int main(void)
{
	volatile unsigned char upper[3 * PAGE];
	unsigned char *page = (unsigned char *)(((uintptr_t)upper + PAGE - 1) & -PAGE);
	uintptr_t start = start_of_stack();

	memset((void *)upper, 5, sizeof(upper));
	NEED(!mlock(page, PAGE));
	NEED(!madvise((void *)(start + 16 * PAGE), PAGE, MADV_DONTDUMP));
	NEED(marked(" lo") == 1 && marked(" dd") == 1);
	descend(start, 1);
	CHECK(marked(" lo") == 1 && marked(" dd") == 1);
	for (size_t i = 0; i < sizeof(upper); i++)
		CHECK(upper[i] == 5);
	target_pass();
}
