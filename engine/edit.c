/* Generations made of another one, with an image changed. */
#include "engine/engine.h"

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/exchange/exchange.h"
#include "engine/image/image.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct edit {
	struct ingest *ingest;
	uint64_t generation;
	const char *object;
	char file[sizeof(EXCHANGE_PREFIX) + 256]; /* what an import keeps of it; "": nothing */
	bool found;
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Everything but what is put in place of something. */
static int take_over(const char *name, const struct object *object, void *arg)
{
	struct edit *edit = arg;

	(void)object;
	if (strcmp(name, edit->object) == 0)
		edit->found = true;
	else if (strcmp(name, edit->file) == 0)
		return R_OK; /* changed with it */
	else if (strcmp(name, image_kind(IMAGE_SNAP_EDIT)->name) != 0)
		return object_adopt(edit->ingest, edit->generation, name);
	return R_OK;
}

/* The edits that led to the generation, into the image of those that lead to the new one. */
static int copy_edits(struct store_view *view, uint64_t generation, struct image_writer *writer)
{
	const char *name = image_kind(IMAGE_SNAP_EDIT)->name;
	struct image_reader reader;
	ProtobufCMessage *message;
	struct object object;
	void *data;
	size_t len;
	int result;

	result = store_object(view, generation, name, &object);
	if (result == R_NOT_FOUND)
		return R_OK;
	if (result == R_OK)
		result = store_read_object(view, &object, &data, &len);
	if (result != R_OK)
		return result;
	result = image_open(&reader, IMAGE_SNAP_EDIT, name, data, len);
	while (result == R_OK && (result = image_next(&reader, &message)) == R_OK) {
		image_add(writer, message);
		image_free_message(message);
	}
	free(data);
	return result == R_NOT_FOUND ? R_OK : result;
}

static int put_edits(struct store_view *view, const struct edit *edit, int64_t time_ns)
{
	SnapEditEntry entry = SNAP_EDIT_ENTRY__INIT;
	struct image_writer writer;
	int result;

	image_writer_init(&writer, IMAGE_SNAP_EDIT);
	result = copy_edits(view, edit->generation, &writer);
	entry.generation = edit->generation;
	entry.object = (char *)edit->object;
	entry.has_time_ns = true;
	entry.time_ns = time_ns;
	image_add(&writer, &entry.base);
	if (result == R_OK)
		result = image_finish(&writer);
	if (result == R_OK)
		result = object_put(edit->ingest, image_kind(IMAGE_SNAP_EDIT)->name, writer.data,
				    writer.len);
	image_writer_free(&writer);
	return result;
}

/*
 * An import keeps the file an image came from, which an export writes: it changes with the image.
 * What snap has made something else of it cannot be put back into: R_UNSUPPORTED, reported.
 */
static int find_file(struct store_view *view, struct edit *edit)
{
	struct object image, file;
	int result;

	if ((size_t)snprintf(edit->file, sizeof(edit->file), EXCHANGE_PREFIX "%s.img",
			     edit->object) >= sizeof(edit->file))
		edit->file[0] = '\0';
	result =
	    *edit->file ? store_object(view, edit->generation, edit->file, &file) : R_NOT_FOUND;
	if (result == R_OK)
		result = store_object(view, edit->generation, edit->object, &image);
	if (result == R_NOT_FOUND)
		edit->file[0] = '\0';
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_OK : result;
	if (image.length_bytes == file.length_bytes && image.root == file.root)
		return R_OK;
	warn("generation %" PRIu64 " has %s in a form of its own beside the imported %s: edit the "
	     "file and import it again",
	     edit->generation, edit->object, edit->file + strlen(EXCHANGE_PREFIX));
	return R_UNSUPPORTED;
}

int engine_edit(struct store *store, struct store_view *view, const struct generation *of,
		const char *name, const void *data, size_t len, const char *lineage,
		struct generation *made)
{
	struct edit edit = { .generation = of->number, .object = name };
	int64_t begun = clock_ns(CLOCK_MONOTONIC);
	int result;

	*made = *of;
	made->time_ns = clock_ns(CLOCK_REALTIME);
	made->frozen_ns = 0;
	result = ingest_begin(store, lineage, &edit.ingest);
	if (result != R_OK)
		return result;
	result = find_file(view, &edit);
	if (result == R_OK)
		result = store_object_each(view, of->number, take_over, &edit);
	if (result == R_OK && !edit.found) {
		warn("generation %" PRIu64 " has no image %s", of->number, name);
		result = R_NOT_FOUND;
	}
	if (result == R_OK)
		result = object_put(edit.ingest, name, data, len);
	if (result == R_OK && *edit.file)
		result = object_put(edit.ingest, edit.file, data, len);
	if (result == R_OK)
		result = put_edits(view, &edit, made->time_ns);
	made->wall_ns = (uint64_t)(clock_ns(CLOCK_MONOTONIC) - begun);
	if (result == R_OK)
		result = ingest_commit(edit.ingest, made);
	if (result != R_OK)
		ingest_abort(edit.ingest);
	return result;
}
