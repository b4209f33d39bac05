/* Protections, guard ranges, content under PROT_NONE, executable pages: in effect and as listed. */
#include "target.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static sigjmp_buf back;

static void on_fault(int signal)
{
	siglongjmp(back, 1);
}

static int can_read(volatile unsigned char *p)
{
	if (sigsetjmp(back, 1))
		return 0;
	(void)*p;
	return 1;
}

static int can_write(volatile unsigned char *p)
{
	if (sigsetjmp(back, 1))
		return 0;
	*p = *p;
	return 1;
}

/* Every line of the map but the ones that come and go with the judgement (heap of stdio). */
static size_t list(char *text, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	size_t n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strstr(line, "[heap]") && !strstr(line, "[stack]"))
			n += snprintf(text + n, size - n, "%s", line);
	fclose(f);
	return n;
}

static char before[65536], now[65536];

int main(void)
{
	unsigned char *p =
	    mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *guard = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && guard != MAP_FAILED);
	pattern_fill(p, 4 * 4096, 6);
	memcpy(p + 4 * 4096, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
	CHECK(!mprotect(p, 4096, PROT_READ));
	CHECK(!mprotect(p + 4096, 4096, PROT_NONE));
	CHECK(!mprotect(p + 4 * 4096, 4096, PROT_READ | PROT_EXEC));
	CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
	list(before, sizeof(before));

	target_ready();

	list(now, sizeof(now));
	CHECK(!strcmp(before, now));
	CHECK(can_read(p) && !can_write(p));
	CHECK(!can_read(p + 4096));
	CHECK(can_write(p + 2 * 4096));
	CHECK(!can_read(guard) && !can_read(guard + (1 << 20) - 1));
	CHECK(((int (*)(void))(void *)(p + 4 * 4096))() == 42);
	CHECK(!can_write(p + 4 * 4096));
	CHECK(!mprotect(p, 4 * 4096, PROT_READ));
	CHECK(pattern_differs(p, 4 * 4096, 6) == 4 * 4096);
	target_pass();
}
