#include "engine/proc/files/sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/result.h"

#define PAGE 4096u
#define BUFFER_BYTES (256u << 10)

struct sum {
	XXH3_state_t *hash;
	uint32_t crc;
};

struct sum *sum_begin(void)
{
	struct sum *sum = calloc(1, sizeof(*sum));

	if (!sum)
		return NULL;
	sum->hash = XXH3_createState();
	if (sum->hash && XXH3_128bits_reset(sum->hash) == XXH_OK)
		return sum;
	XXH3_freeState(sum->hash);
	free(sum);
	return NULL;
}

void sum_add(struct sum *sum, const void *data, size_t len)
{
	sum->crc = crc32c(sum->crc, data, len);
	XXH3_128bits_update(sum->hash, data, len);
}

void sum_end(struct sum *sum, enum sum_kind kind, uint32_t pages, struct file_sum *result)
{
	XXH128_canonical_t canonical;

	if (result) {
		*result = (struct file_sum){ .kind = kind, .pages = pages, .crc = sum->crc };
		XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(sum->hash));
		memcpy(result->hash, &canonical, sizeof(result->hash));
	}
	XXH3_freeState(sum->hash);
	free(sum);
}

static int add_range(int fd, uint64_t from, uint64_t to, struct sum *sum, uint8_t *buffer)
{
	while (from < to) {
		size_t want = to - from < BUFFER_BYTES ? (size_t)(to - from) : BUFFER_BYTES;
		int rc = io_pread_all(fd, buffer, want, (off_t)from);

		if (rc != R_OK)
			return rc;
		sum_add(sum, buffer, want);
		from += want;
	}
	return R_OK;
}

int sum_file(int fd, uint64_t bytes, enum sum_kind kind, uint32_t pages, struct file_sum *result,
	     uint64_t *read_bytes)
{
	uint64_t all = bytes / PAGE + (bytes % PAGE != 0);
	uint8_t *buffer = malloc(BUFFER_BYTES);
	struct sum *sum = buffer ? sum_begin() : NULL;
	int rc = R_OK;

	if (!sum) {
		free(buffer);
		errno = ENOMEM;
		return R_FAILED;
	}
	if (kind == SUM_FULL || pages < 2 || all <= pages) {
		kind = SUM_FULL;
		pages = 0;
		rc = add_range(fd, 0, bytes, sum, buffer);
		*read_bytes += bytes;
	}
	for (uint64_t i = 0; rc == R_OK && i < pages; i++) {
		/* From the first page to the last, in steps that differ by one at most. */
		uint64_t from =
		    (all - 1) / (pages - 1) * i + (all - 1) % (pages - 1) * i / (pages - 1);
		uint64_t end = (from + 1) * PAGE < bytes ? (from + 1) * PAGE : bytes;

		rc = add_range(fd, from * PAGE, end, sum, buffer);
		*read_bytes += end - from * PAGE;
	}
	sum_end(sum, kind, pages, rc == R_OK ? result : NULL);
	free(buffer);
	return rc;
}
