#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/segment_read.h"
#include "store/tree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_OBJECT_MAX ((uint64_t)1 << 30)

/* The names of one generation, as stored: the bytes of its directory object. */
struct directory {
	uint64_t generation;
	uint8_t *data;
	size_t len;
};

void directory_free(struct directory *directory)
{
	if (!directory)
		return;
	free(directory->data);
	free(directory);
}

struct reading {
	struct store_view *view;
	uint8_t *data;
	uint64_t len;
};

static int read_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct reading *reading = arg;

	for (size_t i = 0; i < n; i++) {
		uint64_t offset = (index + i) * PAGE_BYTES;
		size_t len = PAGE_BYTES;
		const uint8_t *page;
		int result;

		if (offset >= reading->len)
			return R_OK;
		if (reading->len - offset < len)
			len = reading->len - offset;
		result = view_page(reading->view, numbers[i], &page);
		if (result == R_DAMAGED)
			warn("page %" PRIu64 " of the store is damaged: run snap verify --data",
			     numbers[i]);
		if (result != R_OK)
			return result;
		memcpy(reading->data + offset, page, len);
	}
	return R_OK;
}

int store_read_object(struct store_view *view, const struct object *object, void **data,
		      size_t *len)
{
	struct reading reading = { .view = view, .len = object->length_bytes };
	int result;

	if (object->length_bytes > SMALL_OBJECT_MAX) {
		warn("an object of %" PRIu64 " bytes is no image", object->length_bytes);
		return R_FAILED;
	}
	reading.data = calloc(1, object->length_bytes + 1);
	if (!reading.data) {
		warn("out of memory");
		return R_FAILED;
	}
	result = store_object_walk(view, object, 0, UINT64_MAX, read_run, &reading);
	if (result != R_OK) {
		free(reading.data);
		return result;
	}
	*data = reading.data;
	*len = object->length_bytes;
	return R_OK;
}

/* Makes the directory of `generation` the one at hand. */
static int load_directory(struct store_view *view, uint64_t generation)
{
	struct generation_record record;
	struct directory *directory;
	void *data;
	int result;

	if (view->directory && view->directory->generation == generation)
		return R_OK;
	result = generation_read(view->txn, generation, &record);
	if (result != R_OK)
		return result;
	directory = calloc(1, sizeof(*directory));
	if (!directory) {
		warn("out of memory");
		return R_FAILED;
	}
	result = store_read_object(view, &record.directory, &data, &directory->len);
	if (result != R_OK) {
		free(directory);
		return result;
	}
	directory->data = data;
	directory->generation = generation;
	directory_free(view->directory);
	view->directory = directory;
	return R_OK;
}

/* The next entry at `*at`; false at the end or where the bytes make no entry. */
static bool next_entry(const struct directory *directory, size_t *at, char *name,
		       struct object *object)
{
	const uint8_t *entry = directory->data + *at;
	size_t name_len;

	if (directory->len - *at < DIRECTORY_ENTRY_BYTES)
		return false;
	name_len = get_le16(entry);
	if (name_len > OBJECT_NAME_MAX || directory->len - *at - DIRECTORY_ENTRY_BYTES < name_len)
		return false;
	object->height = get_le32(entry + 2);
	object->root = get_le64(entry + 6);
	object->length_bytes = get_le64(entry + 14);
	if (object->height > TREE_HEIGHT_MAX)
		return false;
	memcpy(name, entry + DIRECTORY_ENTRY_BYTES, name_len);
	name[name_len] = '\0';
	*at += DIRECTORY_ENTRY_BYTES + name_len;
	return true;
}

/* Its pages are as they were written, but make no directory. */
static int bad_directory(uint64_t generation)
{
	warn("the directory of generation %" PRIu64 " has something that is no entry: run snap "
	     "verify",
	     generation);
	return R_DAMAGED;
}

int store_object(struct store_view *view, uint64_t generation, const char *name,
		 struct object *object)
{
	char there[OBJECT_NAME_MAX + 1];
	size_t at = 0;
	int result;

	result = load_directory(view, generation);
	if (result != R_OK)
		return result;
	while (next_entry(view->directory, &at, there, object))
		if (strcmp(there, name) == 0)
			return R_OK;
	return at == view->directory->len ? R_NOT_FOUND : bad_directory(generation);
}

int store_object_each(struct store_view *view, uint64_t generation,
		      int (*fn)(const char *name, const struct object *object, void *arg),
		      void *arg)
{
	char name[OBJECT_NAME_MAX + 1];
	struct object object;
	size_t at = 0;
	int result;

	for (;;) {
		/* `fn` may look at another generation and so replace the directory at hand. */
		result = load_directory(view, generation);
		if (result != R_OK)
			return result;
		if (!next_entry(view->directory, &at, name, &object))
			return at == view->directory->len ? R_OK : bad_directory(generation);
		result = fn(name, &object, arg);
		if (result)
			return result;
	}
}
