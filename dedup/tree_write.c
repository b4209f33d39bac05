#include "dedup/tree_write.h"

#include "base/endian.h"
#include "base/result.h"
#include "store/page.h"

#include <stdlib.h>
#include <string.h>

/* A node under construction. */
struct level {
	bool used;
	uint64_t prefix; /* its place among the nodes of its level */
	page_no entries[NODE_ENTRIES];
};

struct tree_writer {
	struct classifier *classifier;
	struct previous *previous;
	uint64_t last_index;
	page_no first_number; /* that of index 0 */
	bool any;
	struct level levels[TREE_HEIGHT_MAX + 2]; /* 0 is not used */
};

struct tree_writer *tree_writer_new(struct classifier *classifier, struct previous *previous)
{
	struct tree_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->classifier = classifier;
	writer->previous = previous;
	return writer;
}

void tree_writer_free(struct tree_writer *writer)
{
	free(writer);
}

/* Stores a finished node, or finds that the last generation has the same one at the same place. */
static int store_node(struct tree_writer *writer, unsigned int level, page_no *number)
{
	const struct level *node = &writer->levels[level];
	uint8_t page[PAGE_BYTES], hash[HASH_BYTES];
	page_no old_number = PAGE_ABSENT;
	bool is_new;

	if (writer->previous) {
		const page_no *old =
		    previous_node(writer->previous, level, node->prefix, &old_number);

		if (old && old_number != PAGE_ABSENT &&
		    memcmp(old, node->entries, sizeof(node->entries)) == 0) {
			*number = old_number;
			return R_OK;
		}
	}
	for (size_t i = 0; i < NODE_ENTRIES; i++)
		put_le64(page + 8 * i, node->entries[i]);
	page_hash(writer->classifier->view->store->secret, page, hash);
	return classify_page(writer->classifier, KIND_NODE, page, hash, old_number, number,
			     &is_new);
}

static int put_entry(struct tree_writer *writer, unsigned int level, uint64_t place,
		     page_no number);

static int flush(struct tree_writer *writer, unsigned int level)
{
	struct level *node = &writer->levels[level];
	page_no number;

	if (!node->used)
		return R_OK;
	if (store_node(writer, level, &number) != R_OK)
		return R_FAILED;
	node->used = false;
	memset(node->entries, 0, sizeof(node->entries));
	return put_entry(writer, level + 1, node->prefix, number);
}

/* Sets entry `place`, counted over all nodes of the level. */
static int put_entry(struct tree_writer *writer, unsigned int level, uint64_t place, page_no number)
{
	struct level *node = &writer->levels[level];
	uint64_t prefix = place / NODE_ENTRIES;

	if (node->used && node->prefix != prefix && flush(writer, level) != R_OK)
		return R_FAILED;
	node->used = true;
	node->prefix = prefix;
	node->entries[place % NODE_ENTRIES] = number;
	return R_OK;
}

int tree_writer_put(struct tree_writer *writer, uint64_t index, page_no number)
{
	if (index == 0)
		writer->first_number = number;
	writer->last_index = index;
	writer->any = true;
	return put_entry(writer, 1, index, number);
}

int tree_writer_end(struct tree_writer *writer, struct object *object)
{
	unsigned int height = 0;

	object->root = PAGE_ABSENT;
	object->height = 0;
	if (!writer->any)
		return R_OK;
	while (height < TREE_HEIGHT_MAX && writer->last_index >> (9 * height))
		height++;
	object->height = height;
	if (height == 0) {
		object->root = writer->first_number;
		return R_OK;
	}
	for (unsigned int level = 1; level < height; level++)
		if (flush(writer, level) != R_OK)
			return R_FAILED;
	return store_node(writer, height, &object->root);
}
