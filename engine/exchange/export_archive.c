/* A generation as a checkpoint archive of a container. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive_internal.h"
#include "engine/exchange/export_internal.h"
#include "engine/exchange/tar_out.h"
#include "engine/image/image.h"

struct putting {
	struct export_dir *ex;
	const char *name;
	uint64_t at, length;
};

static const uint8_t zeroes[PAGE_BYTES];

/* Absent pages of an object are zeroes. */
static int fill_up(struct putting *p, uint64_t to)
{
	int rc = R_OK;

	while (rc == R_OK && p->at < to) {
		size_t some = to - p->at < PAGE_BYTES ? (size_t)(to - p->at) : PAGE_BYTES;

		rc = tar_out_data(p->ex->tar, zeroes, some);
		p->at += some;
	}
	return rc;
}

static int put_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct putting *p = arg;
	uint64_t start = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	int rc;

	if (start >= p->length)
		return R_DAMAGED;
	rc = export_read(p->ex, p->name, numbers, n, p->ex->buf);
	if (rc == R_OK)
		rc = fill_up(p, start);
	if (rc != R_OK)
		return rc;
	bytes = bytes < p->length - start ? bytes : p->length - start;
	p->at += bytes;
	return tar_out_data(p->ex->tar, p->ex->buf, bytes);
}

static int put_object(struct export_dir *ex, const char *name, const struct object *object)
{
	struct putting p = { .ex = ex, .name = name, .length = object->length_bytes };
	int rc;

	rc = store_object_walk(ex->view, object, 0, (p.length + PAGE_BYTES - 1) / PAGE_BYTES,
			       put_run, &p);
	return rc == R_OK ? fill_up(&p, p.length) : rc;
}

static int makes_no_sense(const struct export_dir *ex, const char *what)
{
	warn("generation %llu: image snap-archive %s", (unsigned long long)ex->gen->number, what);
	return R_DAMAGED;
}

/* What an entry tells: bytes of the tar itself, and a member's. */
static int put_entry(struct export_dir *ex, const SnapArchiveEntry *entry)
{
	struct object object;
	int rc = R_OK;

	if (entry->has_raw)
		rc = tar_out_data(ex->tar, entry->raw.data, entry->raw.len);
	if (rc != R_OK || !entry->object)
		return rc;
	rc = store_object(ex->view, ex->gen->number, entry->object, &object);
	if (rc == R_NOT_FOUND)
		return makes_no_sense(ex, "names an object that is not there");
	if (rc != R_OK)
		return rc;
	if (object.length_bytes != entry->length)
		return makes_no_sense(ex, "tells another length of an object");
	ex->result->files++;
	return put_object(ex, entry->object, &object);
}

/* The archive as it was imported. */
static int put_skeleton(struct export_dir *ex, int fd, const void *data, size_t len)
{
	const char *name = image_kind(IMAGE_SNAP_ARCHIVE)->name;
	struct image_reader reader;
	ProtobufCMessage *message;
	int rc = image_open(&reader, IMAGE_SNAP_ARCHIVE, name, data, len);

	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		const SnapArchiveEntry *entry = (const SnapArchiveEntry *)message;

		if (!ex->tar->archive)
			rc = tar_out_begin(ex->tar, fd, ex->path,
					   entry->compression ? entry->compression : "none", true);
		if (rc == R_OK)
			rc = put_entry(ex, entry);
		image_free_message(message);
	}
	if (rc == R_NOT_FOUND)
		rc = ex->tar->archive ? R_OK : makes_no_sense(ex, "is empty");
	return tar_out_end(ex->tar, rc);
}

/* A new archive in the form container engines have given it. */
static int put_new(struct export_dir *ex, int fd)
{
	int rc = tar_out_begin(ex->tar, fd, ex->path, "none", false);

	ex->prefix = EXPORT_FOLDER;
	if (rc == R_OK)
		rc = export_container(ex);
	if (rc == R_OK)
		rc = tar_out_member(ex->tar, EXPORT_FOLDER, 0);
	if (rc == R_OK)
		rc = export_all(ex);
	if (rc == R_OK)
		rc = export_container_statistics(ex);
	return tar_out_end(ex->tar, rc);
}

/* Reads the tar's skeleton.  R_NOT_FOUND: the generation is no archive as it was imported. */
static int read_skeleton(struct export_dir *ex, void **data, size_t *len)
{
	struct object object;
	int rc =
	    store_object(ex->view, ex->gen->number, image_kind(IMAGE_SNAP_EDIT)->name, &object);

	if (rc == R_OK)
		return R_NOT_FOUND;
	if (rc != R_NOT_FOUND)
		return rc;
	rc = store_object(ex->view, ex->gen->number, image_kind(IMAGE_SNAP_ARCHIVE)->name, &object);
	if (rc == R_OK)
		rc = store_read_object(ex->view, &object, data, len);
	if (rc == R_DAMAGED)
		warn("generation %llu: image snap-archive is damaged",
		     (unsigned long long)ex->gen->number);
	return rc;
}

int exchange_export_archive(struct store_view *view, const struct generation *gen, int fd,
			    const char *path, const struct export_options *options,
			    struct export_result *result)
{
	struct tar_out tar = { .time_ns = gen->time_ns };
	struct export_dir ex = { .view = view,
				 .gen = gen,
				 .dirfd = -1,
				 .path = path,
				 .tar = &tar,
				 .options = options,
				 .result = result };
	void *data;
	size_t len;
	int rc;

	*result = (struct export_result){ 0 };
	ex.buf = malloc(EXPORT_BATCH_PAGES * PAGE_BYTES);
	if (!ex.buf) {
		warn("out of memory");
		return R_FAILED;
	}
	rc = read_skeleton(&ex, &data, &len);
	if (rc == R_OK) {
		rc = put_skeleton(&ex, fd, data, len);
		free(data);
	} else if (rc == R_NOT_FOUND) {
		rc = put_new(&ex, fd);
	}
	free(ex.buf);
	return rc;
}

int exchange_export_archive_path(struct store_view *view, const struct generation *gen,
				 const char *path, const struct export_options *options,
				 struct export_result *result)
{
	int fd, rc;

	if (strcmp(path, "-") == 0)
		return exchange_export_archive(view, gen, STDOUT_FILENO, "standard output", options,
					       result);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		if (errno == EEXIST)
			warn("%s exists already; remove it or name another file", path);
		else
			warn_errno("%s", path);
		return R_FAILED;
	}
	rc = exchange_export_archive(view, gen, fd, path, options, result);
	if (rc == R_OK && fsync(fd) != 0) {
		warn_errno("%s", path);
		rc = R_FAILED;
	}
	close(fd);
	if (rc != R_OK)
		unlink(path);
	return rc;
}
