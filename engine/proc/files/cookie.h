/*
 * Cookies: what is noted about a regular file at a take, so that a restore can tell whether it
 * still is what it was.  Nothing here opens or stats anything but through a descriptor it is given.
 */
#ifndef SNAP_ENGINE_COOKIE_H
#define SNAP_ENGINE_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/image/image.h"
#include "engine/proc/files/build_id.h"
#include "engine/proc/files/sum.h"

struct statx;

/* How much of a file is looked at; the names are those of `take --cookie`.  Numbers are stored. */
enum cookie_level {
	COOKIE_STAT = 1,
	COOKIE_BUILD_ID = 2, /* and, of files that only grow, a sum of samples */
	COOKIE_SAMPLED = 3,
	COOKIE_FULL = 4,
};

#define VERITY_MAX_BYTES 66 /* number of the algorithm, then up to 64 bytes */

struct cookie {
	uint64_t dev, ino, size;
	uint32_t mode;
	bool has_times, has_btime;
	int64_t mtime_sec, ctime_sec, btime_sec;
	uint32_t mtime_nsec, ctime_nsec, btime_nsec;
	size_t build_id_bytes, verity_bytes; /* 0: none */
	uint8_t build_id[BUILD_ID_MAX_BYTES], verity[VERITY_MAX_BYTES];
	struct file_sum sum;
	bool grows; /* only appended to: what was there is a prefix of what is */
};

/* Identity and times of a statx. */
void cookie_of_statx(const struct statx *stx, struct cookie *cookie);

/*
 * Reads what `level` asks for of an open file into a cookie whose identity is there: build-id,
 * verity digest, sum (of the first cookie->size bytes).  `*read_bytes` grows.  R_OK, R_NOT_FOUND if
 * the file became shorter, R_FAILED with errno set and nothing reported.
 */
int cookie_read(int fd, enum cookie_level level, struct cookie *cookie, uint64_t *read_bytes);
/* What cookie_read() has to sum up. */
enum sum_kind cookie_sum_kind(enum cookie_level level, const struct cookie *cookie);

/*
 * True if every number a stat tells is the same: nobody has written to it since, so that its
 * contents need no look.  (Writes through shared mappings move no time after the first.)
 */
bool cookie_same_stat(const struct cookie *then, const struct cookie *now);

/* In what way a file differs from what it was. */
enum cookie_difference {
	DIFFERS_MISSING = 1 << 0,
	DIFFERS_TYPE = 1 << 1,
	DIFFERS_SIZE = 1 << 2,
	DIFFERS_MODE = 1 << 3,
	DIFFERS_BUILD_ID = 1 << 4,
	DIFFERS_VERITY = 1 << 5,
	DIFFERS_CONTENT = 1 << 6,
	DIFFERS_PREFIX = 1 << 7,   /* grown, and what was there is not its beginning */
	DIFFERS_MODIFIED = 1 << 8, /* written since; contents were not noted */
	/* Those below are told, but are no reason to refuse. */
	DIFFERS_INODE = 1 << 9, /* another inode of the same contents */
	DIFFERS_GROWN = 1 << 10,
	DIFFERS_TOLD_ONLY = DIFFERS_INODE | DIFFERS_GROWN,
};

/*
 * Compares; `now` holds build-id, digest and sum taken over the same bytes as in `then`, where
 * `then` has them and the file is long enough.  A set of enum cookie_difference, 0 for none.
 */
unsigned int cookie_compare(const struct cookie *then, const struct cookie *now);

/* Says each difference in words, "size 12 -> 15, mode 644 -> 600". */
void cookie_explain(const struct cookie *then, const struct cookie *now, unsigned int differences,
		    char *text, size_t len);
/* The word of one bit for programs ("size", "build-id"); NULL if it has none. */
const char *cookie_word(unsigned int difference);

/* To and from the images.  Of a file from elsewhere `more` may be NULL. */
void cookie_from_images(const RegFileEntry *reg, const SnapFileEntry *more, struct cookie *cookie);

#endif
