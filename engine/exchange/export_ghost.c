/* Deleted files, whose contents are in CRIU's image behind their entry. */
#include <stdio.h>
#include <string.h>

#include "base/result.h"
#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"

struct ghost {
	struct export_dir *ex;
	const char *name;
	struct image_writer writer;
	uint64_t size;
};

/* What is in no chunk comes back as a hole. */
static int ghost_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct ghost *g = arg;
	uint64_t at = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	GhostChunkEntry chunk = GHOST_CHUNK_ENTRY__INIT;
	int rc;

	if (at >= g->size)
		return R_OK;
	rc = export_read(g->ex, g->name, numbers, n, g->ex->buf);
	if (rc != R_OK)
		return rc;
	chunk.off = at;
	chunk.len = bytes < g->size - at ? bytes : g->size - at;
	image_add_head(&g->writer, &chunk.base);
	image_add_payload(&g->writer, g->ex->buf, chunk.len);
	return g->writer.failed ? R_FAILED : R_OK;
}

/* "ghost-file-1f" and the object ghost-31. */
int export_ghost(struct export_dir *ex, const char *name, const char *file)
{
	struct ghost g = { .ex = ex };
	ProtobufCMessage *message;
	GhostFileEntry *entry;
	struct object object;
	char contents[32];
	unsigned int id;
	int rc = export_read_one(ex, IMAGE_GHOST_FILE, name, &message);

	if (rc != R_OK)
		return rc;
	entry = (GhostFileEntry *)message;
	image_writer_init(&g.writer, IMAGE_GHOST_FILE);
	image_add(&g.writer, message);
	g.size = entry->size;
	g.name = contents;
	if (entry->has_chunks && entry->chunks && sscanf(name, "ghost-file-%x", &id) == 1) {
		snprintf(contents, sizeof(contents), "ghost-%u", id);
		rc = store_object(ex->view, ex->gen->number, contents, &object);
		if (rc == R_OK)
			rc = store_object_walk(ex->view, &object, 0, UINT64_MAX / PAGE_BYTES,
					       ghost_run, &g);
		rc = rc == R_NOT_FOUND ? R_OK : rc;
	}
	image_free_message(message);
	if (rc == R_OK)
		return export_image(ex, file, &g.writer);
	image_writer_free(&g.writer);
	return rc;
}
