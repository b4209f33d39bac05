/* What snap works with, made of a file of CRIU's. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/import_internal.h"
#include "engine/image/image.h"

static int take_pages(uint64_t index, const void *pages, size_t n, void *arg)
{
	struct import *im = arg;

	im->end = index + n;
	if (!progress_tell(im->options->progress, "importing memory", im->end, 0, PROGRESS_PAGES))
		return R_FAILED;
	return object_pages(im->writer, index, pages, n);
}

/* "pagemap-12" becomes the tree pages-12. */
static int import_memory(struct import *im, const char *pagemap)
{
	char name[NAME_MAX + 16];
	int rc;

	if (im->live)
		return im->live->memory(im, pagemap, im->live->arg);
	snprintf(name, sizeof(name), "pages-%s", pagemap + strlen("pagemap-"));
	im->end = 0;
	rc = object_begin(im->ingest, name, &im->writer);
	if (rc != R_OK)
		return rc;
	rc = dump_pages_each(im->chain, pagemap, take_pages, im);
	if (object_end(im->writer, im->end * PAGE_BYTES) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc == R_NOT_FOUND ? R_FAILED : rc;
}

/* Is it an image that snap itself reads?  Memory has its own form, statistics none. */
static bool is_own_image(const char *name)
{
	const struct image_kind *kind = image_kind_by_name(name);

	return kind && strcmp(kind->name, "pagemap") != 0 &&
	       strcmp(kind->name, "pagemap-shmem") != 0;
}

static int import_image(struct import *im, const char *file, const char *name)
{
	char *data;
	size_t len;
	int rc = source_read(im->source, file, IMAGE_MAX_BYTES, &data, &len);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_FAILED : rc;
	rc = object_put(im->ingest, name, data, len);
	free(data);
	return rc;
}

/* A deleted file's contents, which follow its entry in CRIU's image. */
struct ghost {
	const char *file;
	struct object_writer *writer;
	uint64_t size;
	uint64_t index; /* of the page in `page`, where that is used */
	bool used;
	uint8_t page[PAGE_BYTES];
};

static int ghost_damaged(const struct import *im, const struct ghost *g)
{
	warn("%s/%s ends within the contents of its file, or does not tell them in order",
	     im->source->path, g->file);
	return R_DAMAGED;
}

static int ghost_flush(struct ghost *g)
{
	int rc = g->used ? object_pages(g->writer, g->index, g->page, 1) : R_OK;

	g->used = false;
	return rc;
}

/* Bytes behind all that came before; pages none of which is told stay absent, as holes. */
static int ghost_write(struct import *im, struct ghost *g, const uint8_t *bytes, uint64_t off,
		       uint64_t len)
{
	int rc = R_OK;

	if (off > g->size || len > g->size - off)
		return ghost_damaged(im, g);
	while (rc == R_OK && len > 0) {
		uint64_t at = off % PAGE_BYTES, some = PAGE_BYTES - at;

		some = some < len ? some : len;
		if (g->used && off / PAGE_BYTES < g->index)
			return ghost_damaged(im, g);
		if (g->used && off / PAGE_BYTES != g->index)
			rc = ghost_flush(g);
		if (!g->used) {
			memset(g->page, 0, PAGE_BYTES);
			g->used = true;
			g->index = off / PAGE_BYTES;
		}
		memcpy(g->page + at, bytes, (size_t)some);
		bytes += some;
		off += some;
		len -= some;
	}
	return rc;
}

static int ghost_chunks(struct import *im, struct ghost *g, struct image_reader *reader)
{
	uint64_t end = 0;
	int rc = R_OK;

	while (rc == R_OK) {
		ProtobufCMessage *message;
		const GhostChunkEntry *chunk;
		const void *bytes;

		rc = image_next_of(reader, &ghost_chunk_entry__descriptor, &message);
		if (rc != R_OK)
			break;
		chunk = (const GhostChunkEntry *)message;
		if (chunk->off < end || chunk->len > (uint64_t)(reader->end - reader->at))
			rc = ghost_damaged(im, g);
		else
			rc = image_payload(reader, (size_t)chunk->len, &bytes);
		if (rc == R_OK)
			rc = ghost_write(im, g, bytes, chunk->off, chunk->len);
		end = chunk->off + chunk->len;
		image_free_message(message);
	}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

/* The contents as the object ghost-ID. */
static int ghost_contents(struct import *im, struct ghost *g, unsigned int id,
			  const GhostFileEntry *entry, struct image_reader *reader)
{
	bool chunks = entry->has_chunks && entry->chunks;
	char name[32];
	int rc;

	g->size = chunks ? entry->size : (uint64_t)(reader->end - reader->at);
	snprintf(name, sizeof(name), "ghost-%u", id);
	rc = object_begin(im->ingest, name, &g->writer);
	if (rc != R_OK)
		return rc;
	rc = chunks ? ghost_chunks(im, g, reader) : ghost_write(im, g, reader->at, 0, g->size);
	if (rc == R_OK)
		rc = ghost_flush(g);
	if (object_end(g->writer, g->size) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc;
}

static int ghost_put(struct import *im, const struct ghost *g, unsigned int id,
		     GhostFileEntry *entry)
{
	struct image_writer writer;
	char name[32];
	int rc;

	/* As snap writes them itself. */
	entry->has_chunks = entry->chunks = true;
	entry->has_size = true;
	entry->size = g->size;
	image_writer_init(&writer, IMAGE_GHOST_FILE);
	image_add(&writer, &entry->base);
	rc = image_finish(&writer);
	snprintf(name, sizeof(name), "ghost-file-%x", id);
	if (rc == R_OK)
		rc = object_put(im->ingest, name, writer.data, writer.len);
	image_writer_free(&writer);
	return rc;
}

/* "ghost-file-1f": the entry, and the contents as the object ghost-31. */
static int import_ghost(struct import *im, const char *file, const char *name)
{
	struct ghost g = { .file = file };
	struct image_reader reader;
	ProtobufCMessage *message;
	GhostFileEntry *entry;
	unsigned int id;
	char *data;
	size_t len;
	int rc;

	if (sscanf(name, "ghost-file-%x", &id) != 1)
		return R_OK;
	rc = source_read(im->source, file, IMAGE_MAX_BYTES, &data, &len);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_FAILED : rc;
	rc = image_open(&reader, IMAGE_GHOST_FILE, name, data, len);
	if (rc == R_OK)
		rc = image_next(&reader, &message);
	if (rc == R_OK) {
		entry = (GhostFileEntry *)message;
		if ((entry->mode & S_IFMT) != S_IFREG)
			rc = object_put(im->ingest, name, data, len);
		else if ((rc = ghost_contents(im, &g, id, entry, &reader)) == R_OK)
			rc = ghost_put(im, &g, id, entry);
		image_free_message(message);
	} else if (rc == R_NOT_FOUND) {
		rc = ghost_damaged(im, &g);
	}
	free(data);
	return rc;
}

int import_own(struct import *im, const char *file)
{
	size_t len = strlen(file), stem = len > 4 ? len - 4 : 0;
	char name[NAME_MAX + 1];

	if (!stem || len > NAME_MAX || strcmp(file + stem, ".img") != 0)
		return R_OK;
	memcpy(name, file, stem);
	name[stem] = '\0';
	if (strncmp(name, "pagemap-", strlen("pagemap-")) == 0)
		return import_memory(im, name);
	if (strncmp(name, "ghost-file-", strlen("ghost-file-")) == 0)
		return import_ghost(im, file, name);
	/* As export writes it. */
	if (strcmp(name, "snap-cgroup") == 0)
		return import_image(im, file, "cgroup");
	/* That of this import is another one. */
	if (strcmp(name, image_kind(IMAGE_SNAP_ARCHIVE)->name) == 0)
		return R_OK;
	return is_own_image(name) ? import_image(im, file, name) : R_OK;
}

static bool has_pagemap(const struct import *im, unsigned int shmid)
{
	char file[64];

	snprintf(file, sizeof(file), "pagemap-shmem-%u.img", shmid);
	for (size_t i = 0; i < im->n; i++)
		if (strcmp(im->names[i], file) == 0)
			return true;
	return false;
}

static int import_memfd(struct import *im, const MemfdInodeEntry *entry,
			bool (*has)(const char *name, void *arg), void *arg)
{
	struct object_writer *writer;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "pages-shmem-%u", entry->shmid);
	if (has ? has(name, arg) : has_pagemap(im, entry->shmid))
		return R_OK;
	rc = object_begin(im->ingest, name, &writer);
	return rc == R_OK ? object_end(writer, 0) : rc;
}

int import_memfds(struct import *im, bool (*has)(const char *name, void *arg), void *arg)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	char *data;
	size_t len;
	int rc = source_read(im->source, "memfd.img", IMAGE_MAX_BYTES, &data, &len);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = image_open(&reader, IMAGE_MEMFD, "memfd", data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		rc = import_memfd(im, (const MemfdInodeEntry *)message, has, arg);
		image_free_message(message);
	}
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}
