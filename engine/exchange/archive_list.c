/* The members of a tar and where they are in it. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive_internal.h"

#define TAR_BLOCK 512u
#define READ_BYTES ((size_t)64 << 10)

struct listing {
	struct dump_archive *archive;
	uint64_t at;	 /* where the next read begins */
	uint64_t expect; /* where the next header has to be: behind the last member */
	uint64_t raw;	 /* bytes that belong to no member */
	int error;	 /* errno of a read that failed */
	uint8_t buf[READ_BYTES];
};

static la_ssize_t read_some(struct archive *a, void *arg, const void **data)
{
	struct listing *l = arg;
	ssize_t n;

	do
		n = pread(l->archive->fd, l->buf, sizeof(l->buf), (off_t)l->at);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		l->error = errno;
		archive_set_error(a, errno, "it cannot be read");
		return -1;
	}
	l->at += (uint64_t)n;
	*data = l->buf;
	return n;
}

/* Members that end behind the file have been refused before they are skipped. */
static la_int64_t skip_some(struct archive *a, void *arg, la_int64_t n)
{
	struct listing *l = arg;

	(void)a;
	if (n <= 0 || (uint64_t)n > l->archive->tar_bytes - l->at)
		return 0;
	l->at += (uint64_t)n;
	return n;
}

static int refuse(const struct listing *l, const char *name, const char *why)
{
	char shown[ARCHIVE_SHOWN_MAX];

	warn("%s: member \"%s\" %s; such an archive is not taken in", l->archive->path,
	     dump_archive_shown(shown, name), why);
	return R_UNSUPPORTED;
}

/* What a member may be.  Where a link leads is looked at when all names are known. */
static int check_kind(const struct listing *l, struct archive_entry *entry, const char *name)
{
	if (archive_entry_hardlink(entry))
		return refuse(l, name, "is a hard link to another file");
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
	case AE_IFDIR:
	case AE_IFLNK:
		break;
	default:
		return refuse(l, name, "is a device, a pipe or a socket");
	}
	if (archive_entry_sparse_count(entry) > 0)
		return refuse(l, name, "is sparse");
	return R_OK;
}

/* Without "./" before and "/" behind.  Everything else that is not plain is refused. */
static char *plain_name(const char *name)
{
	size_t len;
	char *plain;

	while (name[0] == '.' && name[1] == '/') {
		name += 2;
		while (*name == '/')
			name++;
	}
	if (strcmp(name, ".") == 0)
		name = "";
	len = strlen(name);
	while (len > 1 && name[len - 1] == '/')
		len--;
	plain = strndup(name, len);
	if (!plain)
		warn("out of memory");
	return plain;
}

static struct archive_member *new_member(struct dump_archive *archive)
{
	if (archive->n_members == archive->room) {
		size_t room = archive->room ? 2 * archive->room : 64;
		struct archive_member *more = reallocarray(archive->members, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return NULL;
		}
		archive->members = more;
		archive->room = room;
	}
	archive->members[archive->n_members] = (struct archive_member){ 0 };
	return &archive->members[archive->n_members++];
}

static int ends_early(const struct listing *l, const char *name)
{
	char shown[ARCHIVE_SHOWN_MAX];

	warn("%s: it ends within \"%s\", so it was cut off; get it anew", l->archive->path,
	     dump_archive_shown(shown, name));
	return R_DAMAGED;
}

/* The place of the member whose header was just read. */
static int note_place(struct listing *l, struct archive *a, struct archive_member *m)
{
	uint64_t header = (uint64_t)archive_read_header_position(a);
	uint64_t data = (uint64_t)archive_filter_bytes(a, 0);

	if (header != l->expect || data < header || data % TAR_BLOCK) {
		warn("%s: at byte %" PRIu64 ": there is something between its members",
		     l->archive->path, l->expect);
		return R_DAMAGED;
	}
	m->at.offset = data;
	if (data > l->archive->tar_bytes || m->at.size > l->archive->tar_bytes - data)
		return ends_early(l, m->at.name);
	l->expect = data + (m->at.size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	l->raw += l->expect - header - m->at.size;
	if (l->raw <= ARCHIVE_RAW_MAX_BYTES)
		return R_OK;
	return refuse(l, m->at.name, "comes behind 48 MiB of headers");
}

static int add_member(struct listing *l, struct archive *a, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	struct archive_member *m;
	la_int64_t size = archive_entry_size(entry);
	int rc;

	if (!name)
		return refuse(l, "?", "has no name that could be read");
	if (l->archive->n_members == ARCHIVE_MEMBERS_MAX)
		return refuse(l, name, "is one too many (32768 are allowed)");
	rc = check_kind(l, entry, name);
	if (rc != R_OK)
		return rc;
	if (size < 0)
		return refuse(l, name, "has no size");
	m = new_member(l->archive);
	if (!m)
		return R_FAILED;
	m->directory = archive_entry_filetype(entry) == AE_IFDIR;
	m->mtime_ns = (int64_t)archive_entry_mtime(entry) * 1000000000;
	m->at.size = archive_entry_filetype(entry) == AE_IFREG ? (uint64_t)size : 0;
	m->at.name = plain_name(name);
	if (!m->at.name)
		return R_FAILED;
	if (archive_entry_filetype(entry) == AE_IFLNK) {
		const char *link = archive_entry_symlink(entry);

		m->link = strdup(link ? link : "/");
		if (!m->link)
			return R_FAILED;
	}
	return note_place(l, a, m);
}

/* Two blocks of zeroes end a tar.  Without them it may have been cut off just there. */
static int check_end(const struct listing *l)
{
	uint8_t end[2 * TAR_BLOCK];

	if (l->expect > l->archive->tar_bytes || l->archive->tar_bytes - l->expect < sizeof(end) ||
	    io_pread_all(l->archive->fd, end, sizeof(end), (off_t)l->expect) != R_OK || end[0] ||
	    memcmp(end, end + 1, sizeof(end) - 1) != 0) {
		warn("%s: it does not end as a tar does, so it was cut off; get it anew",
		     l->archive->path);
		return R_DAMAGED;
	}
	if (l->archive->tar_bytes - l->expect + l->raw <= ARCHIVE_RAW_MAX_BYTES)
		return R_OK;
	warn("%s: %" PRIu64 " bytes follow behind its end", l->archive->path,
	     l->archive->tar_bytes - l->expect);
	return R_UNSUPPORTED;
}

static int damaged(const struct listing *l, struct archive *a)
{
	const char *why = archive_error_string(a);

	if (l->error) {
		errno = l->error;
		warn_errno("%s", l->archive->path);
		return R_FAILED;
	}
	if (!l->archive->n_members && archive_format(a) == 0) {
		warn("%s: it is neither a folder of images nor a tar, or the tar is damaged where "
		     "it begins",
		     l->archive->path);
		return R_UNSUPPORTED;
	}
	warn("%s: at byte %" PRIu64 ": it is damaged or ends early: %s", l->archive->path,
	     l->expect, why ? why : "unknown");
	return R_DAMAGED;
}

static int list(struct listing *l, struct archive *a)
{
	struct archive_entry *entry;
	int rc = R_OK, got;

	archive_read_support_format_tar(a);
	archive_read_set_skip_callback(a, skip_some);
	archive_read_set_read_callback(a, read_some);
	archive_read_set_callback_data(a, l);
	if (archive_read_open1(a) != ARCHIVE_OK)
		return damaged(l, a);
	while (rc == R_OK && (got = archive_read_next_header(a, &entry)) != ARCHIVE_EOF)
		rc = got == ARCHIVE_OK ? add_member(l, a, entry) : damaged(l, a);
	return rc == R_OK ? check_end(l) : rc;
}

int dump_archive_list(struct dump_archive *archive)
{
	struct listing *l = calloc(1, sizeof(*l));
	struct archive *a = archive_read_new();
	int rc = R_FAILED;

	if (l && a) {
		l->archive = archive;
		rc = list(l, a);
	} else {
		warn("out of memory");
	}
	if (a)
		archive_read_free(a);
	free(l);
	return rc;
}
