/* What is known from the lineage's last generation, so that it is not read again. */
#include "engine/proc/files/files.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "dedup/dedup.h"

struct known {
	uint64_t dev, ino;
	const RegFileEntry *reg;
	const SnapFileEntry *more;
};

struct named_object {
	char *name;
	struct object object;
};

struct file_memory {
	ProtobufCMessage **messages;
	size_t n_messages;
	const RegFileEntry **regs; /* ascending by id */
	size_t n_regs;
	struct known *known; /* ascending by inode */
	size_t n_known;
	const SnapDataEntry **data; /* ascending by inode */
	size_t n_data;
	struct named_object *objects; /* ascending by name */
	size_t n_objects;
};

static bool more_room(void *list, size_t n, size_t size)
{
	void **array = list, *more;

	/* Room doubles at powers of two. */
	if (n & (n - 1))
		return true;
	more = realloc(*array, (n ? 2 * n : 1) * size);
	if (more)
		*array = more;
	return more != NULL;
}

static int keep(struct file_memory *m, ProtobufCMessage *message)
{
	if (!more_room(&m->messages, m->n_messages, sizeof(*m->messages))) {
		image_free_message(message);
		return R_FAILED;
	}
	m->messages[m->n_messages++] = message;
	return R_OK;
}

static int add_reg(struct file_memory *m, const ProtobufCMessage *message)
{
	const RegFileEntry *reg = ((const FileEntry *)message)->reg;

	if (!reg)
		return R_OK;
	if (!more_room(&m->regs, m->n_regs, sizeof(*m->regs)))
		return R_FAILED;
	m->regs[m->n_regs++] = reg;
	return R_OK;
}

static const RegFileEntry *reg_of(const struct file_memory *m, uint32_t id)
{
	size_t low = 0, high = m->n_regs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->regs[mid]->id == id)
			return m->regs[mid];
		if (m->regs[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int add_known(struct file_memory *m, const ProtobufCMessage *message)
{
	const SnapFileEntry *more = (const SnapFileEntry *)message;
	const RegFileEntry *reg = reg_of(m, more->id);

	if (!reg || !more->settled || !more->has_ctime_sec)
		return R_OK;
	if (!more_room(&m->known, m->n_known, sizeof(*m->known)))
		return R_FAILED;
	m->known[m->n_known++] = (struct known){ more->dev, more->ino, reg, more };
	return R_OK;
}

static int add_data(struct file_memory *m, const ProtobufCMessage *message)
{
	const SnapDataEntry *entry = (const SnapDataEntry *)message;

	if (!entry->object)
		return R_OK;
	if (!more_room(&m->data, m->n_data, sizeof(*m->data)))
		return R_FAILED;
	m->data[m->n_data++] = entry;
	return R_OK;
}

static int read_image(struct file_memory *m, struct store_view *view, uint64_t generation,
		      enum image_kind_id id,
		      int (*add)(struct file_memory *m, const ProtobufCMessage *message))
{
	const char *name = image_kind(id)->name;
	struct image_reader reader;
	ProtobufCMessage *message;
	struct object object;
	void *data = NULL;
	size_t len;
	int rc = store_object(view, generation, name, &object);

	if (rc == R_OK)
		rc = store_read_object(view, &object, &data, &len);
	if (rc == R_OK)
		rc = image_open(&reader, id, name, data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		rc = keep(m, message);
		if (rc == R_OK)
			rc = add(m, message);
	}
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int order_inodes(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static int order_data(const void *a, const void *b)
{
	const SnapDataEntry *x = *(const SnapDataEntry *const *)a;
	const SnapDataEntry *y = *(const SnapDataEntry *const *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static int order_names(const void *a, const void *b)
{
	return strcmp(((const struct named_object *)a)->name,
		      ((const struct named_object *)b)->name);
}

static int add_object(const char *name, const struct object *object, void *arg)
{
	struct file_memory *m = arg;
	char *copy;

	if (strncmp(name, "file-", 5) != 0 && strncmp(name, "data-", 5) != 0)
		return 0;
	copy = strdup(name);
	if (!copy || !more_room(&m->objects, m->n_objects, sizeof(*m->objects))) {
		free(copy);
		return R_FAILED;
	}
	m->objects[m->n_objects++] = (struct named_object){ copy, *object };
	return 0;
}

struct file_memory *file_memory_load(struct ingest *ingest)
{
	struct file_memory *m = calloc(1, sizeof(*m));
	struct store_view *view = ingest_view(ingest);
	uint8_t uuid[16];
	uint64_t last = ingest_newest(ingest, uuid);
	int rc;

	if (!m || last == 0)
		return m;
	rc = read_image(m, view, last, IMAGE_FILES, add_reg);
	if (rc == R_OK)
		rc = read_image(m, view, last, IMAGE_SNAP_FILES, add_known);
	if (rc == R_OK)
		rc = read_image(m, view, last, IMAGE_SNAP_DATA, add_data);
	if (rc == R_OK)
		rc = store_object_each(view, last, add_object, m);
	if (rc != R_OK)
		/* A damaged or unreadable one only means that nothing is known. */
		m->n_known = m->n_data = 0;
	if (m->n_data)
		qsort(m->data, m->n_data, sizeof(*m->data), order_data);
	if (m->n_known)
		qsort(m->known, m->n_known, sizeof(*m->known), order_inodes);
	if (m->n_objects)
		qsort(m->objects, m->n_objects, sizeof(*m->objects), order_names);
	return m;
}

void file_memory_free(struct file_memory *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_messages; i++)
		image_free_message(m->messages[i]);
	for (size_t i = 0; i < m->n_objects; i++)
		free(m->objects[i].name);
	free(m->messages);
	free(m->regs);
	free(m->known);
	free(m->data);
	free(m->objects);
	free(m);
}

const SnapFileEntry *file_memory_find(const struct file_memory *m, const struct cookie *now,
				      const RegFileEntry **reg)
{
	const struct known want = { now->dev, now->ino, NULL, NULL }, *found;
	struct cookie then;

	if (!m || m->n_known == 0)
		return NULL;
	found = bsearch(&want, m->known, m->n_known, sizeof(*m->known), order_inodes);
	if (!found)
		return NULL;
	cookie_from_images(found->reg, found->more, &then);
	if (!cookie_same_stat(&then, now))
		return NULL;
	*reg = found->reg;
	return found->more;
}

const struct object *file_memory_object(const struct file_memory *m, const char *name)
{
	const struct named_object want = { (char *)name, { 0 } }, *found;

	if (!m || m->n_objects == 0)
		return NULL;
	found = bsearch(&want, m->objects, m->n_objects, sizeof(*m->objects), order_names);
	return found ? &found->object : NULL;
}

const SnapDataEntry *file_memory_data(const struct file_memory *m, uint64_t dev, uint64_t ino)
{
	const SnapDataEntry key = { .dev = dev, .ino = ino }, *want = &key, *const * found;

	if (!m || m->n_data == 0)
		return NULL;
	found = bsearch(&want, m->data, m->n_data, sizeof(*m->data), order_data);
	return found ? *found : NULL;
}

static int carry_image(struct ingest *ingest, enum image_kind_id id)
{
	const char *name = image_kind(id)->name;
	void *data;
	size_t len;
	int rc;

	if (ingest_read_newest(ingest, name, &data, &len) != R_OK)
		return R_OK;
	rc = object_put(ingest, name, data, len);
	free(data);
	return rc;
}

int files_carry(struct ingest *ingest)
{
	struct file_memory *m = file_memory_load(ingest);
	int rc = R_OK;

	for (size_t i = 0; m && rc == R_OK && i < m->n_objects; i++)
		rc = object_take_over(ingest, m->objects[i].name, &m->objects[i].object, 0);
	if (rc == R_OK)
		rc = carry_image(ingest, IMAGE_FILES);
	if (rc == R_OK)
		rc = carry_image(ingest, IMAGE_SNAP_FILES);
	if (rc == R_OK)
		rc = carry_image(ingest, IMAGE_SNAP_DATA);
	file_memory_free(m);
	return rc == R_OK ? R_OK : R_FAILED;
}
