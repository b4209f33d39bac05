/*
 * A target that looks at the clock without a pause, and so knows how long it stood still.  With
 * SIGUSR1 it begins anew; with SIGUSR2 it writes the longest gap since, in nanoseconds, to the file
 * GAP.  MIB of its memory are written once, and DIRTY_MIB again before each time it begins anew.
 *
 *   ticks GAP [MIB [DIRTY_MIB]]
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t begin_anew = 1, tell_gap;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		begin_anew = 1;
	else
		tell_gap = 1;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Renamed into place: whoever sees the file sees all of it. */
static void tell(const char *path, uint64_t gap)
{
	char temporary[4096];
	FILE *out;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	out = fopen(temporary, "w");
	if (!out || fprintf(out, "%llu\n", (unsigned long long)gap) < 0 || fclose(out) != 0 ||
	    rename(temporary, path) != 0)
		perror(path);
}

int main(int argc, char **argv)
{
	size_t bytes = (argc > 2 ? strtoul(argv[2], NULL, 10) : 1) << 20;
	size_t dirty = (argc > 3 ? strtoul(argv[3], NULL, 10) : 0) << 20;
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	uint64_t last = now(), longest = 0;
	int round = 1;
	char *memory;

	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (argc < 2 || memory == MAP_FAILED || dirty > bytes) {
		fprintf(stderr, "usage: ticks GAP [MIB [DIRTY_MIB]]\n");
		return 2;
	}
	for (size_t i = 0; i < bytes; i += sizeof(i))
		memcpy(memory + i, &i, sizeof(i));
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (;;) {
		uint64_t t;

		if (begin_anew) {
			begin_anew = 0;
			memset(memory, round++, dirty);
			longest = 0;
			last = now();
			tell(argv[1], 0);
		}
		t = now();
		if (t - last > longest)
			longest = t - last;
		last = t;
		if (tell_gap) {
			tell_gap = 0;
			tell(argv[1], longest);
			last = now();
		}
	}
}
