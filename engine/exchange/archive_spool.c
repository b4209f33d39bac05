/* The uncompressed tar: the file itself, or a copy of it without a name. */
#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive_internal.h"
#include "store/store.h"

#define READ_BYTES ((size_t)1 << 18)
/* Memory compresses well, and zeroes very well; what goes beyond that is a bomb. */
#define GROWTH_MAX 256u
#define GROWTH_FREE_BYTES ((uint64_t)1 << 30)
/* How often the room that is left is looked at, and which part of it is left to others. */
#define ROOM_CHECK_BYTES ((uint64_t)64 << 20)
#define ROOM_RESERVE 16u

struct spool {
	struct dump_archive *archive;
	int from, fd;
	uint64_t read;	  /* bytes of the file */
	uint64_t written; /* bytes of the tar, holes among them */
	uint64_t stored;  /* without those */
	int error;	  /* errno of a read that failed */
	uLong crc;	  /* of what is written */
	uint8_t tail[8];  /* the last bytes of the file, so far */
	uint8_t buf[READ_BYTES];
};

int dump_archive_temporary(int *fd)
{
	const char *dir = getenv("TMPDIR");

	if (!dir || !*dir)
		dir = "/var/tmp";
	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return R_OK;
	warn_errno("%s: cannot keep what is unpacked there; set TMPDIR to another folder", dir);
	return R_FAILED;
}

static void keep_tail(struct spool *s, size_t n)
{
	size_t all = sizeof(s->tail);

	if (n >= all) {
		memcpy(s->tail, s->buf + n - all, all);
	} else {
		memmove(s->tail, s->tail + n, all - n);
		memcpy(s->tail + all - n, s->buf, n);
	}
}

static la_ssize_t read_some(struct archive *a, void *arg, const void **data)
{
	struct spool *s = arg;
	ssize_t n;

	do
		n = read(s->from, s->buf, sizeof(s->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		s->error = errno;
		archive_set_error(a, errno, "it cannot be read");
		return -1;
	}
	s->read += (uint64_t)n;
	keep_tail(s, (size_t)n);
	*data = s->buf;
	return n;
}

static int check_room(const struct spool *s)
{
	struct statvfs st;

	if (fstatvfs(s->fd, &st) != 0)
		return R_OK;
	if (st.f_bavail >= st.f_blocks / ROOM_RESERVE)
		return R_OK;
	warn("%s: no room to unpack it; set TMPDIR to a folder with more", s->archive->path);
	return R_FAILED;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	return n == 0 || (!bytes[0] && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* Pages of zeroes become holes. */
static int write_block(struct spool *s, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		size_t some = PAGE_BYTES - (size_t)(s->written % PAGE_BYTES);

		some = some < n ? some : n;
		if (!is_zero(bytes, some)) {
			if (io_pwrite_all(s->fd, bytes, some, (off_t)s->written) != R_OK) {
				warn_errno("%s: unpacking it", s->archive->path);
				return R_FAILED;
			}
			if ((s->stored + some) / ROOM_CHECK_BYTES != s->stored / ROOM_CHECK_BYTES &&
			    check_room(s) != R_OK)
				return R_FAILED;
			s->stored += some;
		}
		s->written += some;
		bytes += some;
		n -= some;
	}
	return R_OK;
}

/* What has grown that much has been made for that. */
static int check_growth(const struct spool *s)
{
	if (s->written < GROWTH_FREE_BYTES || s->written / GROWTH_MAX < s->read)
		return R_OK;
	warn("%s: %" PRIu64 " bytes have become more than %" PRIu64
	     "; if it is to be trusted, uncompress it first and import the tar",
	     s->archive->path, s->read, s->written);
	return R_UNSUPPORTED;
}

static int damaged(const struct spool *s, struct archive *a)
{
	const char *why = archive_error_string(a);

	if (s->error) {
		errno = s->error;
		warn_errno("%s", s->archive->path);
		return R_FAILED;
	}
	warn("%s: it is damaged or ends early: %s", s->archive->path, why ? why : "unknown");
	return R_DAMAGED;
}

static uint32_t u32_of(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

/* libarchive leaves out what ends a gzip: checksum and length of what was compressed. */
static int check_gzip(const struct spool *s)
{
	if (strcmp(s->archive->compression, "gzip") != 0 ||
	    (u32_of(s->tail) == s->crc && u32_of(s->tail + 4) == (uint32_t)s->written))
		return R_OK;
	warn("%s: it is damaged: its checksum is not that of its contents (or it is of several "
	     "parts: then uncompress it first)",
	     s->archive->path);
	return R_DAMAGED;
}

static int copy(struct spool *s, struct archive *a, const struct progress *progress)
{
	const void *block;
	size_t n;
	la_int64_t at;
	int rc = R_OK, got;

	while (rc == R_OK && (got = archive_read_data_block(a, &block, &n, &at)) != ARCHIVE_EOF) {
		if (got != ARCHIVE_OK)
			return damaged(s, a);
		s->crc = crc32_z(s->crc, block, n);
		rc = write_block(s, block, n);
		if (rc == R_OK)
			rc = check_growth(s);
		if (!progress_tell(progress, "unpacking", s->written, 0, PROGRESS_BYTES))
			rc = R_FAILED;
	}
	if (rc == R_OK)
		rc = check_gzip(s);
	if (rc == R_OK && ftruncate(s->fd, (off_t)s->written) != 0) {
		warn_errno("%s: unpacking it", s->archive->path);
		rc = R_FAILED;
	}
	return rc;
}

/* One compression, of those whose decoders are content with little memory. */
static int note_compression(struct spool *s, struct archive *a)
{
	int n = archive_filter_count(a);

	s->archive->compression = "none";
	if (n == 1)
		return R_OK;
	if (n > 2) {
		warn("%s: it is compressed twice; uncompress it first", s->archive->path);
		return R_UNSUPPORTED;
	}
	switch (archive_filter_code(a, 0)) {
	case ARCHIVE_FILTER_GZIP:
		s->archive->compression = "gzip";
		return R_OK;
	case ARCHIVE_FILTER_ZSTD:
		s->archive->compression = "zstd";
		return R_OK;
	case ARCHIVE_FILTER_BZIP2:
		s->archive->compression = "bzip2";
		return R_OK;
	case ARCHIVE_FILTER_LZ4:
		s->archive->compression = "lz4";
		return R_OK;
	default:
		warn("%s: its compression is not known; uncompress it first", s->archive->path);
		return R_UNSUPPORTED;
	}
}

static int spool(struct spool *s, const struct progress *progress)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int rc;

	if (!a) {
		warn("out of memory");
		return R_FAILED;
	}
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, s, NULL, read_some, NULL) != ARCHIVE_OK)
		rc = damaged(s, a);
	else if ((rc = note_compression(s, a)) == R_OK)
		switch (archive_read_next_header(a, &entry)) {
		case ARCHIVE_OK:
			rc = copy(s, a, progress);
			break;
		case ARCHIVE_EOF:
			rc = R_OK; /* nothing is in it, which the reader of the tar will say */
			break;
		default:
			rc = damaged(s, a);
		}
	archive_read_free(a);
	return rc;
}

/* The word in the header of every tar that is not older than POSIX. */
static bool is_tar(int fd)
{
	char magic[5];

	return io_pread_all(fd, magic, sizeof(magic), 257) == R_OK &&
	       memcmp(magic, "ustar", sizeof(magic)) == 0;
}

int dump_archive_uncompress(struct dump_archive *archive, int fd, const struct progress *progress)
{
	struct spool *s;
	struct stat st;
	int rc;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_tar(fd)) {
		archive->fd = fd;
		archive->tar_bytes = (uint64_t)st.st_size;
		archive->compression = "none";
		return R_OK;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		warn("out of memory");
		return R_FAILED;
	}
	s->archive = archive;
	s->from = fd;
	rc = dump_archive_temporary(&archive->fd);
	if (rc == R_OK) {
		archive->own_fd = true;
		s->fd = archive->fd;
		rc = spool(s, progress);
		archive->tar_bytes = s->written;
	}
	free(s);
	return rc;
}
