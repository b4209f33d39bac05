/* What the files that read an archive share. */
#ifndef SNAP_ENGINE_EXCHANGE_ARCHIVE_INTERNAL_H
#define SNAP_ENGINE_EXCHANGE_ARCHIVE_INTERNAL_H

#include "engine/exchange/archive.h"

/* A new file without name below $TMPDIR or /var/tmp, close-on-exec.  R_OK or R_FAILED, reported. */
int dump_archive_temporary(int *fd);

/* Makes archive->fd the uncompressed tar, and notes how it was compressed.  As dump_archive_read().
 */
int dump_archive_uncompress(struct dump_archive *archive, int fd, const struct progress *progress);

/* Where compressed bytes come from and where unpacked ones go.  Both give R_OK or what to end with,
 * reported; `*n` is 0 at the end. */
struct unpacking {
	const char *path; /* in messages */
	int (*read)(void *arg, const uint8_t **data, size_t *n);
	int (*write)(void *arg, const uint8_t *data, size_t n);
	void *arg;
};

/* R_OK; R_DAMAGED (also if it ends early, or a checksum is another); R_UNSUPPORTED (it would take
 * too much memory); R_FAILED; all reported. */
int dump_archive_gunzip(const struct unpacking *unpacking);
int dump_archive_unzstd(const struct unpacking *unpacking);

/* Fills in the members.  As dump_archive_read(). */
int dump_archive_list(struct dump_archive *archive);

/* Checks names and links, makes the sorted lists, finds the dump.  As dump_archive_read(). */
int dump_archive_check(struct dump_archive *archive);

/* A name as it may be put into a message: control characters become '?'. */
#define ARCHIVE_SHOWN_MAX 256
const char *dump_archive_shown(char shown[ARCHIVE_SHOWN_MAX], const char *name);

/*
 * Where a link of the member `from` to `to` leads within the archive, as a name without slash at
 * its end ("" is the top).  False: out of the archive, or too long.
 */
bool dump_archive_resolve(const char *from, const char *to,
			  char resolved[ARCHIVE_MEMBER_NAME_MAX + 1]);

#endif
