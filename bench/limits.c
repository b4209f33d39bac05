/*
 * What this machine can do at best with the memory of a process, as one line of JSON: the limits
 * that takes and restores are compared with.  All of one thread.
 *
 *   limits PID FOLDER
 *
 * PID is only read; FOLDER is where the disk is measured.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "bench/clock.h"

#define MIB ((size_t)1 << 20)
#define RUN_BYTES (2 * MIB)
#define SAMPLE_BYTES (64 * MIB)
#define CLUSTER_BYTES ((size_t)64 << 10)
#define PAGE ((size_t)4096)
#define DISK_BYTES (256 * MIB)
#define FSYNCS 21

/* Others may have the processor meanwhile: what is computed is measured in its own time. */
static double cpu(void)
{
	return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Reads all private writable memory once; keeps one run in eight as a sample.  MB/s. */
static double measure_read(int pid, uint8_t *sample, size_t *sample_len)
{
	char path[64], line[512];
	uint8_t *buffer = malloc(RUN_BYTES);
	double spent = 0, begun;
	size_t total = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "r");
	if (!maps || !buffer)
		die(path);
	memset(buffer, 1, RUN_BYTES);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;
		char mode[8];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, mode) != 3 ||
		    strncmp(mode, "rw-p", 4) != 0)
			continue;
		for (; start < end; start += RUN_BYTES) {
			size_t want = end - start < RUN_BYTES ? end - start : RUN_BYTES;
			struct iovec local = { buffer, want };
			struct iovec remote = { (void *)(uintptr_t)start, want };
			ssize_t got;

			begun = cpu();
			got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
			spent += cpu() - begun;
			if (got <= 0)
				continue;
			/* What was never written would make the sample too easy. */
			if (total % (8 * RUN_BYTES) < RUN_BYTES &&
			    *sample_len + RUN_BYTES <= SAMPLE_BYTES && got == (ssize_t)RUN_BYTES) {
				memcpy(sample + *sample_len, buffer, RUN_BYTES);
				*sample_len += RUN_BYTES;
			}
			total += (size_t)got;
		}
	}
	fclose(maps);
	free(buffer);
	return (double)total / spent / 1e6;
}

static double measure_hash(const uint8_t *sample, size_t len)
{
	double begun = cpu();
	uint64_t sum = 0;

	for (int round = 0; round < 4; round++)
		for (size_t at = 0; at < len; at += PAGE)
			sum += XXH3_128bits_withSeed(sample + at, PAGE, 1).low64;
	begun = cpu() - begun;
	/* The sum must be needed for something. */
	return sum == 0 ? 0 : 4 * (double)len / begun / 1e6;
}

static void measure_zstd(const uint8_t *sample, size_t len, double *pack, double *unpack,
			 double *share)
{
	size_t bound = ZSTD_compressBound(CLUSTER_BYTES), stored = 0;
	uint8_t *out = malloc(bound), *back = malloc(CLUSTER_BYTES);
	ZSTD_CCtx *compress = ZSTD_createCCtx();
	ZSTD_DCtx *decompress = ZSTD_createDCtx();
	double pack_s = 0, unpack_s = 0;

	if (!out || !back || !compress || !decompress)
		die("limits");
	for (size_t at = 0; at + CLUSTER_BYTES <= len; at += CLUSTER_BYTES) {
		double begun = cpu();
		size_t got = ZSTD_compressCCtx(compress, out, bound, sample + at, CLUSTER_BYTES, 1);

		pack_s += cpu() - begun;
		begun = cpu();
		ZSTD_decompressDCtx(decompress, back, CLUSTER_BYTES, out, got);
		unpack_s += cpu() - begun;
		stored += got;
	}
	*pack = (double)len / pack_s / 1e6;
	*unpack = (double)len / unpack_s / 1e6;
	*share = (double)stored / (double)len;
	ZSTD_freeCCtx(compress);
	ZSTD_freeDCtx(decompress);
	free(out);
	free(back);
}

/* Into memory of another process that was never touched, as a restore does. */
static double measure_fill(const uint8_t *sample, size_t len)
{
	uint8_t *to = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double begun;
	pid_t child;

	if (to == MAP_FAILED || (child = fork()) < 0)
		die("limits");
	if (child == 0) {
		pause();
		_exit(0);
	}
	begun = cpu();
	for (size_t at = 0; at < len; at += RUN_BYTES) {
		struct iovec local = { (void *)(uintptr_t)(sample + at), RUN_BYTES };
		struct iovec remote = { to + at, RUN_BYTES };

		if (process_vm_writev(child, &local, 1, &remote, 1, 0) != (ssize_t)RUN_BYTES)
			die("process_vm_writev");
	}
	begun = cpu() - begun;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	munmap(to, len);
	return (double)len / begun / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure_disk(const char *folder, double *rate, double *fsync_ms)
{
	char path[4096];
	uint8_t *block = malloc(MIB);
	double begun, times[FSYNCS];
	uint64_t x = 1;
	int fd;

	snprintf(path, sizeof(path), "%s/limits.XXXXXX", folder);
	fd = mkstemp(path);
	if (fd < 0 || !block)
		die(path);
	unlink(path);
	for (size_t i = 0; i < MIB; i += sizeof(x)) {
		x = x * 6364136223846793005 + 1442695040888963407;
		memcpy(block + i, &x, sizeof(x));
	}
	begun = now();
	for (size_t at = 0; at < DISK_BYTES; at += MIB)
		if (pwrite(fd, block, MIB, (off_t)at) != (ssize_t)MIB)
			die(path);
	if (fsync(fd) != 0)
		die(path);
	*rate = (double)DISK_BYTES / (now() - begun) / 1e6;
	for (int i = 0; i < FSYNCS; i++) {
		begun = now();
		if (pwrite(fd, block, PAGE, (off_t)i * (off_t)MIB) != (ssize_t)PAGE ||
		    fsync(fd) != 0)
			die(path);
		times[i] = 1e3 * (now() - begun);
	}
	qsort(times, FSYNCS, sizeof(*times), by_value);
	*fsync_ms = times[FSYNCS / 2];
	close(fd);
	free(block);
}

int main(int argc, char **argv)
{
	double read, hash, pack, unpack, share, fill, disk, fsync_ms;
	uint8_t *sample = malloc(SAMPLE_BYTES);
	size_t len = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: limits PID FOLDER\n");
		return 2;
	}
	if (!sample)
		die("limits");
	read = measure_read(atoi(argv[1]), sample, &len);
	if (len == 0) {
		fprintf(stderr, "limits: process %s has less than 2 MiB of memory\n", argv[1]);
		return 1;
	}
	hash = measure_hash(sample, len);
	measure_zstd(sample, len, &pack, &unpack, &share);
	fill = measure_fill(sample, len);
	measure_disk(argv[2], &disk, &fsync_ms);
	printf("{\"cores\": %ld, \"read_mb_s\": %.0f, \"hash_mb_s\": %.0f, \"zstd_mb_s\": %.0f, "
	       "\"unzstd_mb_s\": %.0f, \"zstd_share\": %.3f, \"fill_mb_s\": %.0f, "
	       "\"disk_mb_s\": %.0f, \"fsync_ms\": %.2f}\n",
	       sysconf(_SC_NPROCESSORS_ONLN), read, hash, pack, unpack, share, fill, disk,
	       fsync_ms);
	free(sample);
	return 0;
}
