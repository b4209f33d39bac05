/*
 * A target whose memory cannot be compressed: MIB of random doubles.  Each SIGUSR1 makes it rewrite
 * one percent of them, all in one place.  How often it did so stands in the file ROUNDS, which is
 * not held open.
 *
 *   doubles MIB ROUNDS
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint64_t state = 88172645463325252;

static double next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) * 0x1.0p-53;
}

static void fill(double *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = next();
}

static int tell(const char *path, unsigned int round)
{
	FILE *out = fopen(path, "w");

	if (!out) {
		perror(path);
		return -1;
	}
	fprintf(out, "%u\n", round);
	return fclose(out);
}

int main(int argc, char **argv)
{
	size_t n, part;
	sigset_t wanted;
	double *all;

	if (argc != 3) {
		fprintf(stderr, "usage: doubles MIB ROUNDS\n");
		return 2;
	}
	n = strtoul(argv[1], NULL, 10) << 17;
	part = n / 100;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	all = mmap(NULL, n * sizeof(*all), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (n == 0 || all == MAP_FAILED) {
		perror("doubles");
		return 1;
	}
	fill(all, n);
	for (unsigned int round = 0;; round++) {
		int sig;

		if (tell(argv[2], round) != 0 || sigwait(&wanted, &sig) != 0)
			return 1;
		fill(all + (size_t)(next() * (double)(n - part)), part);
	}
}
