/*
 * Nodes of page trees and directory objects, made of arbitrary pages: what a page holds comes from
 * the input and not from a pack.  The first byte says what is done with them.
 */
#include "fuzz.h"

#include "base/endian.h"
#include "base/result.h"
#include "dedup/name_list.h"
#include "store/segment_read.h"
#include "store/tree.h"

#include <stdlib.h>
#include <string.h>

/* Byte 0 of an input: walk a tree, read an object, list a directory of these very bytes, or write
 * one and read it back. */
enum { FUZZ_WALK, FUZZ_READ, FUZZ_LIST, FUZZ_NAMES, FUZZ_KINDS };
#define HEAD_BYTES 20u /* kind 1, height 1, root 2, length 4, first 4, end 8 */
#define FIRST_PAGE 2u
#define READS_MAX 2000u /* a tree may have itself below it */
#define LENGTH_MAX ((uint64_t)1 << 20)

static struct {
	const uint8_t *bytes; /* behind the head */
	size_t len;
	bool raw; /* pages are the bytes in order, under one node; else each is a sparse node */
	struct object directory;
	unsigned int reads;
} input;

static uint64_t pages_of_input(void)
{
	return (input.len + PAGE_BYTES - 1) / PAGE_BYTES;
}

/* The root is a node over all other pages, or the page itself. */
static int raw_page(page_no number, uint8_t *page)
{
	uint64_t n = pages_of_input(), at;

	if (number == FIRST_PAGE && input.directory.height > 0) {
		for (uint64_t i = 0; i < n && i < NODE_ENTRIES; i++)
			put_le64(page + 8 * i, FIRST_PAGE + 1 + i);
		return R_OK;
	}
	at = (number - FIRST_PAGE - (input.directory.height > 0)) * PAGE_BYTES;
	if (at >= input.len)
		return R_DAMAGED;
	memcpy(page, input.bytes + at, input.len - at < PAGE_BYTES ? input.len - at : PAGE_BYTES);
	return R_OK;
}

/* Record `number` of the input: how many entries 1, then for each its place 2 and its number 2. */
static int node_page(page_no number, uint8_t *page)
{
	const uint8_t *at = input.bytes, *end = input.bytes + input.len;

	for (page_no i = FIRST_PAGE; at < end; i++) {
		size_t n = *at++;

		if (n * 4 > (size_t)(end - at))
			return R_DAMAGED;
		for (size_t k = 0; i == number && k < n; k++)
			put_le64(page + (size_t)8 * (get_le16(at + 4 * k) % NODE_ENTRIES),
				 get_le16(at + 4 * k + 2));
		if (i == number)
			return R_OK;
		at += 4 * n;
	}
	return R_DAMAGED;
}

/* In the place of that of store/: the linker is told so. */
int __wrap_view_page(struct store_view *view, page_no number, const uint8_t **page);
int __wrap_view_page(struct store_view *view, page_no number, const uint8_t **page)
{
	static uint8_t bytes[PAGE_BYTES];

	(void)view;
	if (++input.reads > READS_MAX)
		return R_FAILED;
	memset(bytes, 0, sizeof(bytes));
	*page = bytes;
	if (number == PAGE_ZERO)
		return R_OK;
	if (number == PAGE_ABSENT)
		abort(); /* nobody asks for it */
	return input.raw ? raw_page(number, bytes) : node_page(number, bytes);
}

int __wrap_generation_read(struct index_txn *txn, uint64_t number,
			   struct generation_record *record);
int __wrap_generation_read(struct index_txn *txn, uint64_t number, struct generation_record *record)
{
	(void)txn;
	memset(record, 0, sizeof(*record));
	record->gen.number = number;
	record->directory = input.directory;
	return R_OK;
}

struct seen {
	uint64_t next, first, end; /* indexes */
	size_t runs;
};

static int see_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct seen *seen = arg;

	if (index < seen->next || index < seen->first || n == 0 || n > NODE_ENTRIES ||
	    index + n > seen->end)
		abort();
	for (size_t i = 0; i < n; i++)
		if (numbers[i] == PAGE_ABSENT)
			abort();
	seen->next = index + n;
	return ++seen->runs > READS_MAX ? R_BUSY : R_OK;
}

static int pass_over(page_no number, uint64_t index, void *arg)
{
	(void)number;
	(void)index;
	(void)arg;
	return R_OK;
}

static void try_walk(const struct object *object, uint64_t first, uint64_t end)
{
	struct seen seen = { .first = first, .end = end };
	const struct tree_visitor visitor = {
		.pages = see_run,
		.damaged = pass_over,
		.first = first,
		.end = end,
	};
	struct store_view view = { 0 };

	tree_visit(&view, object, &visitor, &seen);
}

static void try_read(const struct object *object)
{
	struct store_view view = { 0 };
	void *data;
	size_t len;

	if (store_read_object(&view, object, &data, &len) != R_OK)
		return;
	if (len != object->length_bytes)
		abort();
	free(data);
}

static int see_name(const char *name, const struct object *object, void *arg)
{
	size_t *n = arg;

	(void)object;
	if (strlen(name) > OBJECT_NAME_MAX)
		abort();
	return ++*n > READS_MAX ? R_BUSY : R_OK;
}

static void try_list(void)
{
	struct store_view view = { 0 };
	struct object object;
	size_t n = 0;

	store_object_each(&view, 7, see_name, &n);
	store_object(&view, 7, "pages-1", &object);
	directory_free(view.directory);
}

/* Names that were written are read again, in order. */
struct names {
	const uint8_t *at;
	size_t n;
};

static size_t name_len(const uint8_t *at, const uint8_t *end, char name[OBJECT_NAME_MAX + 1])
{
	size_t len = at < end ? 1 + *at % OBJECT_NAME_MAX : 0;

	if (len == 0 || len > (size_t)(end - at))
		return 0;
	memcpy(name, at, len);
	for (size_t i = 0; i < len; i++)
		if (!name[i])
			name[i] = 'x';
	name[len] = '\0';
	return len;
}

static int compare_name(const char *name, const struct object *object, void *arg)
{
	struct names *names = arg;
	char expected[OBJECT_NAME_MAX + 1];
	size_t len = name_len(names->at, input.bytes + input.len, expected);

	if (len == 0 || strcmp(name, expected) != 0 || object->root != names->n + 5 ||
	    object->length_bytes != len || object->height != names->n % 8)
		abort();
	names->at += len;
	names->n++;
	return R_OK;
}

static void try_names(void)
{
	struct names read = { .at = input.bytes };
	const uint8_t *at = input.bytes, *end = at + input.len;
	struct store_view view = { 0 };
	char name[OBJECT_NAME_MAX + 1];
	struct name_list list = { 0 };
	size_t n = 0, len;

	for (; (len = name_len(at, end, name)) > 0; at += len, n++) {
		const struct object object = { .root = n + 5,
					       .length_bytes = len,
					       .height = n % 8 };

		if (name_list_add(&list, name, &object) != R_OK || !name_list_has(&list, name))
			abort();
	}
	/* From now on the pages are those of the list; the names to compare with stay. */
	if (list.len > 0 && list.len <= PAGE_BYTES * NODE_ENTRIES) {
		const uint8_t *names = input.bytes;
		size_t names_len = input.len;
		uint8_t *copy = malloc(list.len);

		if (!copy)
			abort();
		memcpy(copy, list.bytes, list.len);
		input.bytes = copy;
		input.len = list.len;
		input.directory =
		    (struct object){ .root = FIRST_PAGE, .length_bytes = list.len, .height = 1 };
		/* Reads it once; what follows looks at what was read. */
		if (store_object_each(&view, 7, see_name, &(size_t){ 0 }) == R_FAILED)
			abort();
		input.bytes = names;
		input.len = names_len;
		if (n <= READS_MAX &&
		    (store_object_each(&view, 7, compare_name, &read) != R_OK || read.n != n))
			abort();
		directory_free(view.directory);
		free(copy);
	}
	name_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct object object;
	unsigned int kind;

	if (len < HEAD_BYTES)
		return 0;
	kind = data[0] % FUZZ_KINDS;
	object.height = data[1];
	object.root = get_le16(data + 2);
	object.length_bytes = get_le32(data + 4) % LENGTH_MAX;
	memset(&input, 0, sizeof(input));
	input.bytes = data + HEAD_BYTES;
	input.len = len - HEAD_BYTES;
	input.raw = kind >= FUZZ_LIST;
	if (kind == FUZZ_WALK) {
		try_walk(&object, get_le32(data + 8), get_le64(data + 12));
	} else if (kind == FUZZ_READ) {
		try_read(&object);
	} else if (kind == FUZZ_LIST) {
		input.directory = (struct object){ .root = FIRST_PAGE,
						   .length_bytes = object.length_bytes,
						   .height = object.height % 2 };
		try_list();
	} else {
		try_names();
	}
	return 0;
}

#define SEEDS 7

/* Trees of one and of several levels, one that has itself below it, an object, a directory, names.
 */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	static const uint8_t nodes[] = {
		3, 0, 0, 3, 0, 1, 0, 4, 0, 0xff, 1, 2, 0, /* page 2: over 3, 4 and itself */
		2, 0, 0, 5, 0, 9, 0, 1, 0,		  /* page 3 */
		1, 7, 0, 6, 0,				  /* page 4 */
	};
	static const uint8_t entry[] = { 7, 0, 1, 0, 0, 0, 2, 0,   0,	0,   0,	  0,   0,   0,	100,
					 0, 0, 0, 0, 0, 0, 0, 'p', 'a', 'g', 'e', 's', '-', '1' };
	size_t len = HEAD_BYTES;

	if (i >= SEEDS || room < 8192)
		return 0;
	memset(data, 0, 8192);
	data[0] = (uint8_t)(i < 3    ? FUZZ_WALK
			    : i == 3 ? FUZZ_READ
			    : i < 6  ? FUZZ_LIST
				     : FUZZ_NAMES);
	data[1] = (uint8_t)(i < 3 ? 1 + i * 3 : i == 5);
	data[2] = FIRST_PAGE;
	put_le32(data + 4, i == 5 ? 5000 : sizeof(entry));
	put_le32(data + 8, i == 1 ? 300 : 0);
	put_le64(data + 12, i == 1 ? 100000 : UINT64_MAX);
	if (i < 4) {
		memcpy(data + len, nodes, sizeof(nodes));
		return len + sizeof(nodes);
	}
	for (unsigned int k = 0; k < (i == 5 ? 170u : 1u); k++, len += sizeof(entry))
		memcpy(data + len, entry, sizeof(entry));
	return len;
}
