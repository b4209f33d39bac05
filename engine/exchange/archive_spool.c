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
	const struct progress *progress;
	size_t ahead; /* bytes of `buf` that were read to find out what it is */
	uint8_t buf[READ_BYTES];
};

/* What compressed files begin with, and whether they are read. */
struct kind {
	const char *name;
	uint8_t magic[6];
	size_t n;
	bool known;
};

static const struct kind kinds[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, true },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, true },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, true },
	{ "lz4", { 0x04, 0x22, 0x4d, 0x18 }, 4, true },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, false },
	{ "lzip", { 'L', 'Z', 'I', 'P' }, 4, false },
	{ "lzop", { 0x89, 'L', 'Z', 'O', 0 }, 5, false },
	{ "compress", { 0x1f, 0x9d }, 2, false },
};

/* NULL: none of them. */
static const struct kind *kind_of(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (n >= kinds[i].n && memcmp(bytes, kinds[i].magic, kinds[i].n) == 0)
			return &kinds[i];
	return NULL;
}

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

/* The bytes read ahead, or more of the file.  Bytes in `buf`, 0 at the end, -1: s->error. */
static ssize_t more(struct spool *s)
{
	ssize_t n = (ssize_t)s->ahead;

	s->ahead = 0;
	if (n)
		return n;
	do
		n = read(s->from, s->buf, sizeof(s->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		s->error = errno;
	else
		s->read += (uint64_t)n;
	return n;
}

static la_ssize_t read_some(struct archive *a, void *arg, const void **data)
{
	struct spool *s = arg;
	ssize_t n = more(s);

	if (n < 0)
		archive_set_error(a, s->error, "it cannot be read");
	*data = s->buf;
	return n;
}

static int cannot_read(const struct spool *s)
{
	errno = s->error;
	warn_errno("%s", s->archive->path);
	return R_FAILED;
}

static int unpack_from(void *arg, const uint8_t **data, size_t *n)
{
	struct spool *s = arg;
	ssize_t got = more(s);

	*data = s->buf;
	*n = got > 0 ? (size_t)got : 0;
	return got < 0 ? cannot_read(s) : R_OK;
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

static int unpack_to(void *arg, const uint8_t *data, size_t n)
{
	struct spool *s = arg;
	int rc = write_block(s, data, n);

	if (rc == R_OK)
		rc = check_growth(s);
	if (!progress_tell(s->progress, "unpacking", s->written, 0, PROGRESS_BYTES))
		rc = R_FAILED;
	return rc;
}

static int damaged(const struct spool *s, struct archive *a)
{
	const char *why = archive_error_string(a);

	if (s->error)
		return cannot_read(s);
	warn("%s: it is damaged or ends early: %s", s->archive->path, why ? why : "unknown");
	return R_DAMAGED;
}

static int copy_blocks(struct spool *s, struct archive *a)
{
	const void *block;
	size_t n;
	la_int64_t at;
	int rc = R_OK, got;

	while (rc == R_OK && (got = archive_read_data_block(a, &block, &n, &at)) != ARCHIVE_EOF)
		rc = got == ARCHIVE_OK ? unpack_to(s, block, n) : damaged(s, a);
	return rc;
}

/* bzip2 and lz4, whose decoders are content with little memory and compare checksums. */
static int unpack_by_libarchive(struct spool *s)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int rc;

	if (!a) {
		warn("out of memory");
		return R_FAILED;
	}
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, s, NULL, read_some, NULL) != ARCHIVE_OK)
		rc = damaged(s, a);
	else
		switch (archive_read_next_header(a, &entry)) {
		case ARCHIVE_OK:
			rc = copy_blocks(s, a);
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

static int copy_plainly(struct spool *s)
{
	const uint8_t *data;
	size_t n;
	int rc;

	while ((rc = unpack_from(s, &data, &n)) == R_OK && n > 0)
		if ((rc = unpack_to(s, data, n)) != R_OK)
			break;
	return rc;
}

/* What is in it may be compressed once more, which leads nowhere. */
static int check_once(const struct spool *s)
{
	uint8_t magic[6];

	if (s->written < sizeof(magic) || io_pread_all(s->fd, magic, sizeof(magic), 0) != R_OK ||
	    !kind_of(magic, sizeof(magic)))
		return R_OK;
	warn("%s: it is compressed twice; uncompress it first", s->archive->path);
	return R_UNSUPPORTED;
}

static int unpack(struct spool *s, const struct kind *kind)
{
	const struct unpacking u = {
		.path = s->archive->path, .read = unpack_from, .write = unpack_to, .arg = s
	};
	int rc;

	s->archive->compression = kind ? kind->name : "none";
	if (!kind)
		return copy_plainly(s);
	if (!kind->known) {
		warn("%s: it is compressed by %s, which is not read here; uncompress it first",
		     s->archive->path, kind->name);
		return R_UNSUPPORTED;
	}
	if (strcmp(kind->name, "gzip") == 0)
		rc = dump_archive_gunzip(&u);
	else if (strcmp(kind->name, "zstd") == 0)
		rc = dump_archive_unzstd(&u);
	else
		rc = unpack_by_libarchive(s);
	return rc == R_OK ? check_once(s) : rc;
}

static int spool(struct spool *s)
{
	size_t got = 0;
	ssize_t n = 1;
	int rc;

	/* A pipe may give the first bytes one by one. */
	while (got < sizeof(kinds[0].magic) && n > 0) {
		do
			n = read(s->from, s->buf + got, sizeof(s->buf) - got);
		while (n < 0 && errno == EINTR);
		got += n > 0 ? (size_t)n : 0;
	}
	if (n < 0) {
		s->error = errno;
		return cannot_read(s);
	}
	s->ahead = s->read = got;
	rc = unpack(s, kind_of(s->buf, got));
	if (rc == R_OK && ftruncate(s->fd, (off_t)s->written) != 0) {
		warn_errno("%s: unpacking it", s->archive->path);
		rc = R_FAILED;
	}
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
		s->progress = progress;
		rc = spool(s);
		archive->tar_bytes = s->written;
	}
	free(s);
	return rc;
}
