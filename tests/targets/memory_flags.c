/* mlock, mlock2 and madvise: the flags of each mapping as /proc/self/smaps shows them. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RANGES 9
#define BYTES (4 * 4096)

static const int advice[RANGES] = { MADV_NORMAL,     MADV_DONTFORK, MADV_HUGEPAGE,
				    MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_WIPEONFORK,
				    MADV_SEQUENTIAL, MADV_RANDOM,   MADV_NORMAL };

/* The line VmFlags of the mapping that starts there. */
static void flags_of(void *start, char *flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from;
	char line[512];
	int inside = 0, found = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-", &from) == 1 && strchr(line, '-') - line >= 8)
			inside = from == (unsigned long)start;
		if (inside && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, size, "%s", line);
			found = 1;
		}
	}
	fclose(f);
	CHECK(found);
}

int main(void)
{
	unsigned char *all, *range[RANGES];
	char before[RANGES][200], now[200], *nosoft;

	all = mmap(NULL, 2 * RANGES * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(all != MAP_FAILED);
	for (int i = 0; i < RANGES; i++) {
		range[i] = all + 2 * i * BYTES;
		CHECK(!mprotect(range[i], BYTES, PROT_READ | PROT_WRITE));
		CHECK(!madvise(range[i], BYTES, advice[i]));
		pattern_fill(range[i], BYTES, i);
	}
	CHECK(!mlock(range[0], BYTES));
	CHECK(!mlock2(range[8], BYTES, MLOCK_ONFAULT));
	for (int i = 0; i < RANGES; i++)
		flags_of(range[i], before[i], sizeof(before[i]));

	target_ready();

	for (int i = 0; i < RANGES; i++) {
		flags_of(range[i], now, sizeof(now));
		/* sd (soft-dirty) is not the target's own */
		for (nosoft = strstr(now, "sd "); nosoft; nosoft = strstr(now, "sd "))
			memmove(nosoft, nosoft + 3, strlen(nosoft + 3) + 1);
		for (nosoft = strstr(before[i], "sd "); nosoft; nosoft = strstr(before[i], "sd "))
			memmove(nosoft, nosoft + 3, strlen(nosoft + 3) + 1);
		if (strcmp(before[i], now))
			target_fail("range %d: %s instead of %s", i, now, before[i]);
		CHECK(pattern_differs(range[i], BYTES, i) == BYTES);
	}
	target_pass();
}
