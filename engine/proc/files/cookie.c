#include "engine/proc/files/cookie.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/result.h"

void cookie_of_statx(const struct statx *stx, struct cookie *cookie)
{
	*cookie = (struct cookie){
		.dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.ino = stx->stx_ino,
		.size = stx->stx_size,
		.mode = stx->stx_mode,
		.has_times = true,
		.mtime_sec = stx->stx_mtime.tv_sec,
		.mtime_nsec = stx->stx_mtime.tv_nsec,
		.ctime_sec = stx->stx_ctime.tv_sec,
		.ctime_nsec = stx->stx_ctime.tv_nsec,
	};
	if (stx->stx_mask & STATX_BTIME) {
		cookie->has_btime = true;
		cookie->btime_sec = stx->stx_btime.tv_sec;
		cookie->btime_nsec = stx->stx_btime.tv_nsec;
	}
}

static void read_verity(int fd, struct cookie *cookie)
{
	union {
		struct fsverity_digest digest;
		uint8_t room[sizeof(struct fsverity_digest) + 64];
	} d = { .digest = { .digest_size = 64 } };

	/* File systems without it, and files for which it is not enabled, all say no. */
	if (ioctl(fd, FS_IOC_MEASURE_VERITY, &d) != 0 || d.digest.digest_size > 64)
		return;
	memcpy(cookie->verity, &d.digest.digest_algorithm, 2);
	memcpy(cookie->verity + 2, d.room + sizeof(d.digest), d.digest.digest_size);
	cookie->verity_bytes = 2u + d.digest.digest_size;
}

enum sum_kind cookie_sum_kind(enum cookie_level level, const struct cookie *cookie)
{
	if (level == COOKIE_FULL)
		return SUM_FULL;
	if (level == COOKIE_SAMPLED || (level == COOKIE_BUILD_ID && cookie->grows))
		return SUM_SAMPLED;
	return SUM_NONE;
}

int cookie_read(int fd, enum cookie_level level, struct cookie *cookie, uint64_t *read_bytes)
{
	enum sum_kind kind = cookie_sum_kind(level, cookie);
	int rc;

	if (level == COOKIE_STAT)
		return R_OK;
	rc = build_id_read(fd, cookie->size, cookie->build_id, &cookie->build_id_bytes);
	if (rc == R_FAILED)
		return rc;
	/* As it is stored: in whole words. */
	while (rc == R_OK && cookie->build_id_bytes % sizeof(uint32_t))
		cookie->build_id[cookie->build_id_bytes++] = 0;
	read_verity(fd, cookie);
	if (kind == SUM_NONE)
		return R_OK;
	return sum_file(fd, cookie->size, kind, SUM_SAMPLE_PAGES, &cookie->sum, read_bytes);
}

bool cookie_same_stat(const struct cookie *then, const struct cookie *now)
{
	if (!then->has_times || !now->has_times || then->dev != now->dev || then->ino != now->ino ||
	    then->size != now->size || then->mode != now->mode)
		return false;
	if (then->mtime_sec != now->mtime_sec || then->mtime_nsec != now->mtime_nsec ||
	    then->ctime_sec != now->ctime_sec || then->ctime_nsec != now->ctime_nsec)
		return false;
	return !then->has_btime || !now->has_btime ||
	       (then->btime_sec == now->btime_sec && then->btime_nsec == now->btime_nsec);
}

static bool same_sum(const struct file_sum *a, const struct file_sum *b)
{
	static const uint8_t none[SUM_HASH_BYTES];

	if (a->kind != b->kind || a->pages != b->pages || a->crc != b->crc)
		return false;
	/* One that came from elsewhere has only the short one. */
	return memcmp(a->hash, none, sizeof(none)) == 0 ||
	       memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

static bool same_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static unsigned int compare_size(const struct cookie *then, const struct cookie *now)
{
	if (now->size == then->size)
		return 0;
	if (now->size < then->size)
		return DIFFERS_SIZE;
	/* Grown: fine where what was there is known to be its beginning. */
	if (then->sum.kind != SUM_NONE && (then->grows || then->sum.kind == SUM_FULL))
		return same_sum(&then->sum, &now->sum) ? DIFFERS_GROWN
		       : then->grows		       ? DIFFERS_SIZE | DIFFERS_PREFIX
						       : DIFFERS_SIZE;
	return then->grows ? DIFFERS_GROWN : DIFFERS_SIZE;
}

/* Of files of the same size: the strongest evidence there is decides.  Samples can tell that a file
 * has changed, but not that one has not which was written to. */
static unsigned int compare_contents(const struct cookie *then, const struct cookie *now)
{
	unsigned int found = 0;
	bool known = false;

	if (then->verity_bytes) {
		known = true;
		if (!same_bytes(then->verity, then->verity_bytes, now->verity, now->verity_bytes))
			found |= DIFFERS_VERITY;
	}
	if (then->build_id_bytes) {
		known = true;
		if (!same_bytes(then->build_id, then->build_id_bytes, now->build_id,
				now->build_id_bytes))
			found |= DIFFERS_BUILD_ID;
	}
	if (then->sum.kind != SUM_NONE) {
		known |= then->sum.kind == SUM_FULL;
		if (!same_sum(&then->sum, &now->sum))
			found |= DIFFERS_CONTENT;
	}
	if (!known && !found && then->has_times &&
	    (then->mtime_sec != now->mtime_sec || then->mtime_nsec != now->mtime_nsec))
		found |= DIFFERS_MODIFIED;
	return found;
}

unsigned int cookie_compare(const struct cookie *then, const struct cookie *now)
{
	unsigned int found;

	if ((then->mode & S_IFMT) != (now->mode & S_IFMT))
		return DIFFERS_TYPE;
	found = compare_size(then, now);
	if (then->size == now->size)
		found |= compare_contents(then, now);
	if (then->mode != now->mode)
		found |= DIFFERS_MODE;
	/* A number may be given again, the time of birth is not. */
	if (then->ino && (then->ino != now->ino || (then->has_btime && now->has_btime &&
						    (then->btime_sec != now->btime_sec ||
						     then->btime_nsec != now->btime_nsec))))
		found |= DIFFERS_INODE;
	return found;
}

static const struct {
	unsigned int bit;
	const char *word;
} words[] = {
	{ DIFFERS_MISSING, "missing" },	  { DIFFERS_TYPE, "type" },
	{ DIFFERS_SIZE, "size" },	  { DIFFERS_MODE, "mode" },
	{ DIFFERS_BUILD_ID, "build-id" }, { DIFFERS_VERITY, "verity" },
	{ DIFFERS_CONTENT, "content" },	  { DIFFERS_PREFIX, "prefix" },
	{ DIFFERS_MODIFIED, "modified" }, { DIFFERS_INODE, "inode" },
	{ DIFFERS_GROWN, "grown" },
};

const char *cookie_word(unsigned int difference)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].bit == difference)
			return words[i].word;
	return NULL;
}

static void hex(const uint8_t *bytes, size_t len, char *text, size_t room)
{
	/* The first eight tell builds apart for people. */
	for (size_t i = 0; i < len && i < 8 && room > 3; i++, text += 2, room -= 2)
		snprintf(text, room, "%02x", bytes[i]);
	if (len == 0)
		snprintf(text, room, "none");
}

static void when(int64_t sec, uint32_t nsec, char *text, size_t room)
{
	time_t seconds = (time_t)sec;
	struct tm tm;
	size_t n;

	if (!localtime_r(&seconds, &tm) || !(n = strftime(text, room, "%F %T", &tm)))
		n = (size_t)snprintf(text, room, "%lld", (long long)sec);
	snprintf(text + n, room - n, ".%03u", nsec / 1000000);
}

static void say(const struct cookie *then, const struct cookie *now, unsigned int bit, char *text,
		size_t room)
{
	char a[48] = "", b[48] = "";

	switch (bit) {
	case DIFFERS_TYPE:
	case DIFFERS_MODE:
		snprintf(text, room, "%s %o -> %o", bit == DIFFERS_TYPE ? "type" : "mode",
			 then->mode, now->mode);
		return;
	case DIFFERS_SIZE:
	case DIFFERS_GROWN:
		snprintf(text, room, "%s %llu -> %llu", bit == DIFFERS_SIZE ? "size" : "grown",
			 (unsigned long long)then->size, (unsigned long long)now->size);
		return;
	case DIFFERS_BUILD_ID:
		hex(then->build_id, then->build_id_bytes, a, sizeof(a));
		hex(now->build_id, now->build_id_bytes, b, sizeof(b));
		snprintf(text, room, "build-id %s -> %s", a, b);
		return;
	case DIFFERS_MODIFIED:
		when(then->mtime_sec, then->mtime_nsec, a, sizeof(a));
		when(now->mtime_sec, now->mtime_nsec, b, sizeof(b));
		snprintf(text, room, "modified %s -> %s, %s", a, b,
			 then->sum.kind == SUM_NONE
			     ? "contents were not noted"
			     : "of its contents only samples were noted, which are the same");
		return;
	case DIFFERS_INODE:
		snprintf(text, room, "replaced by another inode (%llu -> %llu)",
			 (unsigned long long)then->ino, (unsigned long long)now->ino);
		return;
	case DIFFERS_PREFIX:
		snprintf(text, room, "what was there is not its beginning any more");
		return;
	case DIFFERS_CONTENT:
		snprintf(text, room, "content (CRC32C %08x -> %08x)", then->sum.crc, now->sum.crc);
		return;
	default:
		snprintf(text, room, "%s", bit == DIFFERS_VERITY ? "fs-verity digest" : "missing");
	}
}

void cookie_explain(const struct cookie *then, const struct cookie *now, unsigned int differences,
		    char *text, size_t len)
{
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && used + 3 < len; i++) {
		if (!(differences & words[i].bit))
			continue;
		if (used)
			used += (size_t)snprintf(text + used, len - used, ", ");
		say(then, now, words[i].bit, text + used, len - used);
		used += strlen(text + used);
	}
}

static void from_more(const SnapFileEntry *more, struct cookie *cookie)
{
	cookie->dev = more->has_dev ? more->dev : 0;
	cookie->ino = more->has_ino ? more->ino : 0;
	cookie->has_times = more->has_mtime_sec && more->has_ctime_sec;
	cookie->mtime_sec = more->mtime_sec;
	cookie->mtime_nsec = (uint32_t)more->mtime_nsec;
	cookie->ctime_sec = more->ctime_sec;
	cookie->ctime_nsec = more->ctime_nsec;
	cookie->has_btime = more->has_btime_sec;
	cookie->btime_sec = more->btime_sec;
	cookie->btime_nsec = more->btime_nsec;
	cookie->grows = more->grows;
	if (more->has_verity && more->verity.len <= VERITY_MAX_BYTES) {
		memcpy(cookie->verity, more->verity.data, more->verity.len);
		cookie->verity_bytes = more->verity.len;
	}
	if (more->has_content_hash && more->content_hash.len == SUM_HASH_BYTES)
		memcpy(cookie->sum.hash, more->content_hash.data, SUM_HASH_BYTES);
}

void cookie_from_images(const RegFileEntry *reg, const SnapFileEntry *more, struct cookie *cookie)
{
	*cookie = (struct cookie){ .size = reg->size, .mode = reg->mode };
	if (more)
		from_more(more, cookie);
	else
		cookie->grows =
		    (reg->flags & O_ACCMODE) == O_WRONLY && (reg->flags & O_APPEND) != 0;
	/* Words are padded with zeroes; ours tell the true length. */
	cookie->build_id_bytes = reg->n_build_id * sizeof(uint32_t);
	if (cookie->build_id_bytes > BUILD_ID_MAX_BYTES)
		cookie->build_id_bytes = 0;
	if (cookie->build_id_bytes)
		memcpy(cookie->build_id, reg->build_id, cookie->build_id_bytes);
	if (reg->has_checksum &&
	    (reg->checksum_config == SUM_FULL || reg->checksum_config == SUM_SAMPLED)) {
		cookie->sum.kind = (enum sum_kind)reg->checksum_config;
		cookie->sum.crc = reg->checksum;
		cookie->sum.pages = reg->checksum_parameter;
	}
}
