/* Sums over the contents of files: of all of it, or of pages spread over it. */
#ifndef SNAP_ENGINE_FILE_SUM_H
#define SNAP_ENGINE_FILE_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Numbers are those of reg_file_entry.checksum_config. */
enum sum_kind {
	SUM_NONE = 0,
	SUM_FULL = 1,
	SUM_SAMPLED = 2, /* `pages` pages of 4096 bytes, the first and the last among them */
};

/* Enough that a file rewritten elsewhere than in its head is found out, few enough that reading
 * them from a disk that seeks takes no longer than half a second. */
#define SUM_SAMPLE_PAGES 64u

#define SUM_HASH_BYTES 16

struct file_sum {
	enum sum_kind kind;
	uint32_t pages;		      /* SUM_SAMPLED: how many */
	uint32_t crc;		      /* CRC32C of the bytes looked at, in order */
	uint8_t hash[SUM_HASH_BYTES]; /* XXH3-128 of the same */
};

/* A sum in the making, for whoever reads the file anyway.  NULL: out of memory, not reported. */
struct sum;
struct sum *sum_begin(void);
void sum_add(struct sum *sum, const void *data, size_t len);
/* The result into `*result` (which may be NULL: gives up); frees `sum`. */
void sum_end(struct sum *sum, enum sum_kind kind, uint32_t pages, struct file_sum *result);

/*
 * Sums up the first `bytes` bytes of file `fd`, SUM_FULL or SUM_SAMPLED of `pages` pages.  A file
 * that has no more pages than that is summed up in full, and the result says so.  `*read_bytes`
 * grows by what was read.  R_OK, R_NOT_FOUND if the file is shorter, R_FAILED with errno set.
 */
int sum_file(int fd, uint64_t bytes, enum sum_kind kind, uint32_t pages, struct file_sum *result,
	     uint64_t *read_bytes);

/* CRC32C (Castagnoli) continued from `crc`, 0 at first. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
