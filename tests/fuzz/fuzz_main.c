/*
 * fuzz_NAME [--seconds N | --rounds N] [FILE...]
 *
 * Runs the target on each seed, on mutations of them for N seconds or rounds (1000 if nothing is
 * said), and on the files.  A crash, an assertion or a sanitizer ends it; the input is then in
 * fuzz-crash.bin of the current directory, as it was written before it was tried.
 */
#include "fuzz.h"

#include "base/warn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)2 << 20)

static uint64_t state = 88172645463325252ull;
static uint8_t *tried; /* in a file, so that it outlives a crash */

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull >> 8;
}

static void keep_quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

static void try(const uint8_t *data, size_t len)
{
	memcpy(tried, data, len);
	memcpy(tried + INPUT_MAX, &len, sizeof(len));
	LLVMFuzzerTestOneInput(tried, len);
}

static size_t mutate(uint8_t *data, size_t len)
{
	static const uint64_t odd[] = { 0,	    1,		0x7f,	    0x80,
					0xff,	    0xffff,	0x7fffffff, 0x80000000,
					0xffffffff, UINT64_MAX, INT64_MAX };
	size_t times = 1 + next_random() % 6;

	for (size_t i = 0; i < times && len > 0; i++) {
		/* Most of what matters stands at the front. */
		size_t span = next_random() % 2 ? len : (len < 256 ? len : 256);
		size_t at = next_random() % span;
		uint64_t value = odd[next_random() % (sizeof(odd) / sizeof(odd[0]))];
		size_t width = (size_t)1 << next_random() % 4;

		switch (next_random() % 6) {
		case 0:
			data[at] ^= (uint8_t)(1u << next_random() % 8);
			break;
		case 1:
			data[at] = (uint8_t)next_random();
			break;
		case 2:
			memcpy(data + at, &value, width < len - at ? width : len - at);
			break;
		case 3:
			len = at;
			break;
		case 4:
			memmove(data + at, data + at + 1, len - at - 1);
			len--;
			break;
		default:
			if (len == INPUT_MAX)
				break;
			memmove(data + at + 1, data + at, len - at);
			len++;
		}
	}
	return len;
}

static void open_tried(void)
{
	int fd = open("fuzz-crash.bin", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(INPUT_MAX + sizeof(size_t))))
		goto err;
	tried = mmap(NULL, INPUT_MAX + sizeof(size_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (tried != MAP_FAILED)
		return;
err:
	perror("fuzz-crash.bin");
	exit(2);
}

static void try_file(const char *path, uint8_t *data)
{
	FILE *file = fopen(path, "re");

	if (!file) {
		perror(path);
		exit(2);
	}
	try(data, fread(data, 1, INPUT_MAX, file));
	fclose(file);
}

static unsigned int try_seeds(uint8_t *data)
{
	unsigned int seeds = 0;
	size_t len;

	while ((len = fuzz_seed(seeds, data, INPUT_MAX)) > 0) {
		try(data, len);
		seeds++;
	}
	return seeds;
}

int main(int argc, char **argv)
{
	unsigned long rounds = 1000, seconds = 0, done = 0;
	uint8_t *data = malloc(INPUT_MAX);
	time_t start = time(NULL);
	unsigned int seeds;

	if (!data)
		return 2;
	warn_set_hook(keep_quiet, NULL);
	open_tried();
	seeds = try_seeds(data);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			seconds = strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			rounds = strtoul(argv[++i], NULL, 10);
		else
			try_file(argv[i], data);
	}
	while (seconds ? (unsigned long)(time(NULL) - start) < seconds : done < rounds) {
		size_t len = fuzz_seed((unsigned int)(next_random() % seeds), data, INPUT_MAX);

		try(data, mutate(data, len));
		done++;
	}
	printf("%u seeds, %lu mutations in %ld s\n", seeds, done, (long)(time(NULL) - start));
	unlink("fuzz-crash.bin");
	free(data);
	return seeds == 0;
}
