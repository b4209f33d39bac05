/* Files whose contents the generation stored because they are mapped. */
#include "engine/look/look_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define BATCH_PAGES 512

static int by_id(const void *a, const void *b)
{
	uint32_t left = (*(SnapFileEntry *const *)a)->id, right = (*(SnapFileEntry *const *)b)->id;

	return left < right ? -1 : left > right;
}

void look_sort_notes(struct look *look)
{
	if (look->n_notes)
		qsort(look->notes, look->n_notes, sizeof(*look->notes), by_id);
}

const SnapFileEntry *look_note(const struct look *look, uint32_t id)
{
	SnapFileEntry key, *p = &key, **found;

	if (!look->n_notes)
		return NULL;
	key.id = id;
	found = bsearch(&p, look->notes, look->n_notes, sizeof(*look->notes), by_id);
	return found ? *found : NULL;
}

int look_stored(const struct look *look, const VmaEntry *vma, struct object *object)
{
	const SnapFileEntry *note;

	if (!look_vma_is_file(vma))
		return R_NOT_FOUND;
	note = look_note(look, (uint32_t)vma->shmid);
	if (!note || !note->stored)
		return R_NOT_FOUND;
	return store_object(look->view, look->gen.number, note->stored, object);
}

const char *look_stored_path(const struct look *look, const char *object)
{
	for (size_t i = 0; i < look->n_notes; i++) {
		const SnapFileEntry *note = look->notes[i];
		const FileEntry *file;

		if (!note->stored || strcmp(note->stored, object) != 0)
			continue;
		file = look_file(look, note->id);
		if (file && file->reg)
			return file->reg->name;
	}
	return NULL;
}

struct copying {
	const struct look *look;
	const char *path;
	uint64_t bytes;
	uint8_t *buf;
	int fd;
};

static int copy_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	const struct copying *c = arg;
	uint64_t at = index * PAGE_BYTES;
	page_no bad = PAGE_ABSENT;
	size_t len = n * PAGE_BYTES;
	int rc;

	/* Never more than the size that was noted, whatever the index of the object tells. */
	if (at >= c->bytes)
		return R_OK;
	if (len > c->bytes - at)
		len = (size_t)(c->bytes - at);
	rc = store_read_pages(c->look->view, numbers, n, c->buf, &bad);
	if (rc == R_DAMAGED)
		warn("generation %llu: the stored contents of %s are damaged at 0x%llx",
		     (unsigned long long)c->look->gen.number, c->path, (unsigned long long)at);
	if (rc == R_OK && io_pwrite_all(c->fd, c->buf, len, (off_t)at) != R_OK) {
		warn_errno("cannot copy what is stored of %s into memory", c->path);
		rc = R_FAILED;
	}
	return rc;
}

int look_copy(const struct look *look, const struct object *object, const char *path, int *fd)
{
	struct copying c = { .look = look, .path = path, .bytes = object->length_bytes };
	int rc = R_FAILED;

	*fd = -1;
	c.buf = malloc(BATCH_PAGES * PAGE_BYTES);
	c.fd = memfd_create("snap-look", MFD_CLOEXEC);
	if (!c.buf)
		warn("out of memory");
	else if (c.fd < 0 || ftruncate(c.fd, (off_t)c.bytes) != 0)
		warn_errno("cannot copy what is stored of %s into memory", path);
	else
		rc =
		    store_object_walk(look->view, object, 0, UINT64_MAX / PAGE_BYTES, copy_run, &c);
	free(c.buf);
	if (rc == R_OK)
		*fd = c.fd;
	else if (c.fd >= 0)
		close(c.fd);
	return rc;
}
