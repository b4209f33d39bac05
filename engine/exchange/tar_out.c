#include "engine/exchange/tar_out.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define BLOCK_BYTES ((size_t)1 << 18)

static int failed(const struct tar_out *out)
{
	const char *why = archive_error_string(out->archive);

	warn("%s: cannot be written: %s", out->path, why ? why : "unknown");
	return R_FAILED;
}

static int add_filter(struct archive *a, const char *compression)
{
	if (strcmp(compression, "none") == 0)
		return archive_write_add_filter_none(a);
	if (strcmp(compression, "zstd") == 0)
		return archive_write_add_filter_zstd(a);
	if (strcmp(compression, "bzip2") == 0)
		return archive_write_add_filter_bzip2(a);
	if (strcmp(compression, "lz4") == 0)
		return archive_write_add_filter_lz4(a);
	if (strcmp(compression, "gzip") != 0)
		return ARCHIVE_FATAL;
	/* The same generation is the same archive, whenever it is written. */
	return archive_write_add_filter_gzip(a) == ARCHIVE_OK
		   ? archive_write_set_filter_option(a, "gzip", "timestamp", NULL)
		   : ARCHIVE_FATAL;
}

/* The one entry that the form "raw" has: the tar itself. */
static int begin_raw(struct tar_out *out)
{
	struct archive_entry *entry = archive_entry_new();
	int rc;

	if (!entry) {
		warn("out of memory");
		return R_FAILED;
	}
	archive_entry_set_pathname(entry, "tar");
	archive_entry_set_filetype(entry, AE_IFREG);
	rc = archive_write_header(out->archive, entry) == ARCHIVE_OK ? R_OK : failed(out);
	archive_entry_free(entry);
	return rc;
}

int tar_out_begin(struct tar_out *out, int fd, const char *path, const char *compression,
		  bool ready)
{
	struct archive *a = archive_write_new();

	out->path = path;
	out->archive = a;
	if (!a) {
		warn("out of memory");
		return R_FAILED;
	}
	if (add_filter(a, compression) != ARCHIVE_OK) {
		warn("%s: there is no compression \"%s\" here", path, compression);
		return R_UNSUPPORTED;
	}
	if (ready)
		archive_write_set_format_raw(a);
	else
		archive_write_set_format_pax_restricted(a);
	archive_write_set_bytes_in_last_block(a, 1);
	if (archive_write_open_fd(a, fd) != ARCHIVE_OK)
		return failed(out);
	return ready ? begin_raw(out) : R_OK;
}

int tar_out_member(struct tar_out *out, const char *name, uint64_t bytes)
{
	struct archive_entry *entry = archive_entry_new();
	size_t len = strlen(name);
	bool folder = len && name[len - 1] == '/';
	int rc;

	if (!entry) {
		warn("out of memory");
		return R_FAILED;
	}
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, folder ? AE_IFDIR : AE_IFREG);
	archive_entry_set_perm(entry, folder ? 0700 : 0600);
	archive_entry_set_size(entry, (la_int64_t)bytes);
	archive_entry_set_mtime(entry, (time_t)(out->time_ns / 1000000000), 0);
	rc = archive_write_header(out->archive, entry) == ARCHIVE_OK ? R_OK : failed(out);
	archive_entry_free(entry);
	return rc;
}

int tar_out_data(struct tar_out *out, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		la_ssize_t n = archive_write_data(out->archive, at, len);

		if (n <= 0)
			return failed(out);
		at += n;
		len -= (size_t)n;
	}
	return R_OK;
}

int tar_out_bytes(struct tar_out *out, const char *name, const void *data, size_t len)
{
	int rc = tar_out_member(out, name, len);

	return rc == R_OK ? tar_out_data(out, data, len) : rc;
}

int tar_out_file(struct tar_out *out, const char *name, int fd)
{
	uint8_t *buf = malloc(BLOCK_BYTES);
	struct stat st;
	int rc;

	if (!buf) {
		warn("out of memory");
		return R_FAILED;
	}
	if (fstat(fd, &st) != 0) {
		warn_errno("%s: %s", out->path, name);
		free(buf);
		return R_FAILED;
	}
	rc = tar_out_member(out, name, (uint64_t)st.st_size);
	for (off_t at = 0; rc == R_OK && at < st.st_size;) {
		size_t some = (size_t)(st.st_size - at) < BLOCK_BYTES ? (size_t)(st.st_size - at)
								      : BLOCK_BYTES;

		if (io_pread_all(fd, buf, some, at) != R_OK) {
			warn_errno("%s: %s", out->path, name);
			rc = R_FAILED;
		} else {
			rc = tar_out_data(out, buf, some);
		}
		at += (off_t)some;
	}
	free(buf);
	return rc;
}

int tar_out_end(struct tar_out *out, int rc)
{
	if (!out->archive)
		return rc;
	if (rc != R_OK)
		/* Nothing of what is half done is to be flushed. */
		archive_write_fail(out->archive);
	else if (archive_write_close(out->archive) != ARCHIVE_OK)
		rc = failed(out);
	archive_write_free(out->archive);
	out->archive = NULL;
	return rc;
}
