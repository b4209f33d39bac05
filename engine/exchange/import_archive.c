/* An archive becomes a generation: its dump, what is beside that, and how it all stood in the tar.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive.h"
#include "engine/exchange/archive_object.h"
#include "engine/exchange/import_internal.h"
#include "engine/image/image.h"

/* Bytes between members go into entries of at most so many. */
#define RAW_BYTES ((size_t)64 << 10)

struct taking {
	const struct dump_archive *archive;
	struct image_writer writer;
	bool first_told;
	uint8_t *buf; /* RAW_BYTES */
};

/* Is it a file of the dump, which the import keeps itself? */
static bool in_dump(const struct dump_archive *archive, const char *name)
{
	size_t folder = strlen(archive->folder);

	return strncmp(name, archive->folder, folder) == 0 && !strchr(name + folder, '/');
}

void archive_object_name(const char *folder, const char *member, char *name, size_t room)
{
	size_t len = strlen(folder);

	if (strncmp(member, folder, len) == 0 && !strchr(member + len, '/'))
		snprintf(name, room, "%s%s", EXCHANGE_PREFIX, member + len);
	else
		snprintf(name, room, "%s%s", EXCHANGE_ARCHIVE_PREFIX, member);
}

static int import_rest(struct import *im, const struct dump_archive *archive)
{
	char name[IMPORT_NAME_MAX + 1];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < archive->n_files; i++) {
		const struct tar_member *m = &archive->files[i];
		const struct dump_file file = { archive->fd, false, m->offset, m->size };

		if (in_dump(archive, m->name))
			continue;
		archive_object_name(archive->folder, m->name, name, sizeof(name));
		rc = import_bytes(im, m->name, &file, name);
	}
	return rc;
}

static void add_entry(struct taking *t, const uint8_t *raw, size_t len, const char *object,
		      uint64_t length)
{
	SnapArchiveEntry entry = SNAP_ARCHIVE_ENTRY__INIT;
	const char *slash = strrchr(t->archive->path, '/');

	entry.has_raw = len > 0;
	entry.raw.data = (uint8_t *)raw;
	entry.raw.len = len;
	entry.object = (char *)object;
	entry.has_length = object != NULL;
	entry.length = length;
	if (!t->first_told) {
		entry.compression = (char *)t->archive->compression;
		entry.folder = t->archive->folder;
		entry.file = (char *)(slash ? slash + 1 : t->archive->path);
		entry.has_tar_bytes = true;
		entry.tar_bytes = t->archive->tar_bytes;
		t->first_told = true;
	}
	image_add(&t->writer, &entry.base);
}

/* The bytes of the tar in [start, end), with the object that follows them in the last entry. */
static int add_raw(struct taking *t, uint64_t start, uint64_t end, const char *object,
		   uint64_t length)
{
	while (start < end || object) {
		size_t some = end - start < RAW_BYTES ? (size_t)(end - start) : RAW_BYTES;
		bool last = some == end - start;

		if (some && io_pread_all(t->archive->fd, t->buf, some, (off_t)start) != R_OK) {
			warn("%s became shorter, or cannot be read", t->archive->path);
			return R_FAILED;
		}
		add_entry(t, t->buf, some, last ? object : NULL, length);
		start += some;
		if (last)
			break;
	}
	return R_OK;
}

static int add_members(struct taking *t)
{
	const struct dump_archive *archive = t->archive;
	char name[IMPORT_NAME_MAX + 1];
	uint64_t at = 0;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < archive->n_members; i++) {
		const struct archive_member *m = &archive->members[i];

		if (m->directory || m->link || !m->at.size)
			continue;
		archive_object_name(archive->folder, m->at.name, name, sizeof(name));
		rc = add_raw(t, at, m->at.offset, name, m->at.size);
		at = m->at.offset + m->at.size;
	}
	return rc == R_OK ? add_raw(t, at, archive->tar_bytes, NULL, 0) : rc;
}

static int import_tar(struct import *im, void *arg)
{
	struct taking t = { .archive = arg };
	int rc = import_rest(im, t.archive);

	if (rc != R_OK)
		return rc;
	t.buf = malloc(RAW_BYTES);
	if (!t.buf) {
		warn("out of memory");
		return R_FAILED;
	}
	image_writer_init(&t.writer, IMAGE_SNAP_ARCHIVE);
	rc = add_members(&t);
	if (rc == R_OK)
		rc = image_finish(&t.writer);
	if (rc == R_OK)
		rc = object_put(im->ingest, image_kind(IMAGE_SNAP_ARCHIVE)->name, t.writer.data,
				t.writer.len);
	image_writer_free(&t.writer);
	free(t.buf);
	return rc;
}

/* When the dump was made, as far as the archive tells. */
static int64_t time_of(const struct dump_archive *archive)
{
	char name[IMPORT_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%sinventory.img", archive->folder);
	for (size_t i = 0; i < archive->n_members; i++)
		if (strcmp(archive->members[i].at.name, name) == 0)
			return archive->members[i].mtime_ns;
	return 0;
}

int exchange_import_archive(struct store *store, int fd, const char *path,
			    const struct import_options *options, struct import_result *result)
{
	struct dump_archive archive;
	struct dump_source source;
	int rc = dump_archive_read(fd, path, options->progress, &archive);

	if (rc == R_OK) {
		dump_archive_source(&archive, &source);
		result->gen.time_ns = time_of(&archive);
		rc = import_source(store, &source, options, result, import_tar, &archive);
	}
	dump_archive_close(&archive);
	return rc;
}
