/* vdso and vvar at their old places, and working: clocks go on, and go forward. */
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>

/* The ranges of [vdso] and [vvar...], as text. */
static void ranges(char *text, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[256];
	size_t n = 0;

	CHECK(f);
	text[0] = 0;
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[v") && !strstr(line, "[vsyscall]"))
			n += snprintf(text + n, size - n, "%s", line);
	fclose(f);
}

int main(void)
{
	char before[1024], now[1024];
	struct timespec then, clock;
	struct timeval day;

	ranges(before, sizeof(before));
	CHECK(strstr(before, "[vdso]") && getauxval(AT_SYSINFO_EHDR));
	clock_gettime(CLOCK_MONOTONIC, &then);

	target_ready();

	ranges(now, sizeof(now));
	if (strcmp(before, now))
		target_fail("ranges were %s and are %s", before, now);
	CHECK(!memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4));
	CHECK(!clock_gettime(CLOCK_MONOTONIC, &clock));
	CHECK(clock.tv_sec > then.tv_sec ||
	      (clock.tv_sec == then.tv_sec && clock.tv_nsec > then.tv_nsec));
	CHECK(!gettimeofday(&day, NULL) && day.tv_sec > 1600000000);
	target_pass();
}
