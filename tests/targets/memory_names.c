/* Names given to anonymous memory, which /proc shows. */
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define BYTES (16 * 4096UL)

static void expect(void *at, const char *name)
{
	char prefix[40], line[512];

	snprintf(prefix, sizeof(prefix), "%lx-", (long)at);
	CHECK(!proc_line("maps", prefix, line, sizeof(line)));
	if (!strstr(line, name))
		target_fail("%s is not called %s", line, name);
}

static void *named(int flags, const char *name)
{
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 1, BYTES / 2);
	NEED(!prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, BYTES, name));
	return p;
}

int main(void)
{
	void *one = named(MAP_PRIVATE, "first name"), *two = named(MAP_PRIVATE, "second");
	void *shared = named(MAP_SHARED, "common");

	target_ready();

	expect(one, "[anon:first name]");
	expect(two, "[anon:second]");
	expect(shared, "[anon_shmem:common]");
	target_pass();
}
