#include "dedup/ingest_internal.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/commit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of its newest generation and of a pre-dump that is newer, 0 where there is none. */
static int find_newest(struct store_view *view, const char *lineage, uint64_t *generation,
		       uint64_t *predump)
{
	struct generation last;
	int result = store_generation_latest(view, lineage, &last);

	*generation = result == R_OK ? last.number : 0;
	*predump = 0;
	if (result != R_OK && result != R_NOT_FOUND)
		return R_FAILED;
	result = store_predump_latest(view, lineage, &last);
	if (result == R_OK && store_predump_is_newer(&last, *generation))
		*predump = last.number;
	return result == R_OK || result == R_NOT_FOUND ? R_OK : R_FAILED;
}

int lineage_newest(struct store *store, const char *lineage, uint8_t store_uuid[16],
		   uint64_t *number)
{
	struct store_view *view;
	uint64_t generation, predump;
	int result = store_view_open(store, &view);

	if (result != R_OK)
		return result;
	result = find_newest(view, lineage, &generation, &predump);
	store_view_close(view);
	memcpy(store_uuid, store->uuid, UUID_BYTES);
	*number = predump ? predump : generation;
	return result;
}

int ingest_begin(struct store *store, const char *lineage, struct ingest **ingest)
{
	struct ingest *new;

	if (*lineage == '\0' || strlen(lineage) >= LINEAGE_NAME_MAX) {
		warn("the name '%s' of a lineage must have 1 to %d bytes", lineage,
		     LINEAGE_NAME_MAX - 1);
		return R_FAILED;
	}
	if (!store->writable) {
		warn("%s was opened for reading only", store->dir);
		return R_FAILED;
	}
	new = calloc(1, sizeof(*new));
	if (!new)
		goto err0;
	new->store = store;
	new->crew = crew_new(CREW_MAX);
	new->classifier.compare = HASH_BITS < 8 * HASH_BYTES || store_damage_noted(store);
	strcpy(new->lineage, lineage);
	new->classifier.recent = recent_new();
	if (!new->classifier.recent)
		goto err1;
	/* Before any page number is reserved: gc relies on that order (gc/DESIGN.md). */
	if (store_view_open(store, &new->view) != R_OK)
		goto err2;
	new->classifier.view = new->view;
	if (find_newest(new->view, lineage, &new->last_generation, &new->last_predump) != R_OK)
		goto err3;
	if (segment_writer_open(store, &new->classifier.writer) != R_OK)
		goto err3;
	*ingest = new;
	return R_OK;

err3:
	store_view_close(new->view);
err2:
	recent_free(new->classifier.recent);
	crew_free(new->crew);
	free(new);
	return R_FAILED;
err1:
	crew_free(new->crew);
	free(new);
err0:
	warn("out of memory");
	return R_FAILED;
}

static void free_object(struct object_writer *writer)
{
	if (writer->ingest->open == writer)
		writer->ingest->open = NULL;
	tree_writer_free(writer->tree);
	previous_free(writer->previous);
	free(writer->name);
	free(writer);
}

/* Writers that are only remembered live in the records: those not taken in yet are freed with them.
 */
static void drop_spool(struct ingest *ingest)
{
	const struct spool_record *record;

	while (ingest->spool && (record = spool_next(ingest->spool)))
		if (record->verb == SPOOL_END)
			free_object(record->writer);
	spool_free(ingest->spool);
	ingest->spool = NULL;
}

/* The view goes last: it protects what a commit refers to. */
static void free_ingest(struct ingest *ingest, bool committed)
{
	drop_spool(ingest);
	if (ingest->open)
		free_object(ingest->open);
	segment_writer_close(ingest->classifier.writer, committed);
	store_view_close(ingest->view);
	recent_free(ingest->classifier.recent);
	crew_free(ingest->crew);
	name_list_free(&ingest->names);
	free(ingest);
}

void ingest_abort(struct ingest *ingest)
{
	if (ingest)
		free_ingest(ingest, false);
}

/* What the last pre-dump or else generation has under this name; a damaged one counts as none. */
static int open_previous(struct object_writer *writer)
{
	struct ingest *ingest = writer->ingest;
	const uint64_t last[] = { ingest->last_predump, ingest->last_generation };
	struct object old;
	int result = R_NOT_FOUND;

	/* Encrypted pages are made anew each time. */
	if (writer->kind == KIND_SEALED)
		return R_OK;
	for (size_t i = 0; writer->name && i < 2 && result != R_OK; i++) {
		if (last[i] == 0)
			continue;
		result = store_object(ingest->view, last[i], writer->name, &old);
		if (result == R_FAILED)
			return R_FAILED;
		writer->is_newest = i == 0 || ingest->last_predump == 0;
	}
	if (result != R_OK)
		return R_OK;
	writer->previous = previous_new(ingest->view, &old);
	if (writer->previous)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

/* Gets a writer ready to take pages in. */
static int open_object(struct object_writer *writer)
{
	if (open_previous(writer) != R_OK)
		return R_FAILED;
	writer->tree = tree_writer_new(&writer->ingest->classifier, writer->previous);
	if (writer->tree)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

static int begin_object(struct ingest *ingest, const char *name, enum page_kind kind,
			struct object_writer **writer)
{
	struct object_writer *new = calloc(1, sizeof(*new));

	if (!new)
		goto err0;
	new->ingest = ingest;
	new->kind = kind;
	if (name && !(new->name = strdup(name)))
		goto err1;
	if (ingest->spool) {
		struct spool_record record = { SPOOL_BEGIN, new, 0, 0, NULL };

		new->spooled = true;
		if (spool_add(ingest->spool, &record) != R_OK)
			goto err2;
	} else if (open_object(new) != R_OK) {
		goto err2;
	}
	ingest->open = new;
	*writer = new;
	return R_OK;

err2:
	previous_free(new->previous);
	free(new->name);
	free(new);
	warn("cannot begin object %s", name ? name : "(directory)");
	ingest->failed = true;
	return R_FAILED;
err1:
	free(new);
err0:
	warn("out of memory: cannot begin object %s", name ? name : "(directory)");
	ingest->failed = true;
	return R_FAILED;
}

static int begin_named(struct ingest *ingest, const char *name, enum page_kind kind,
		       struct object_writer **writer)
{
	if (*name == '\0' || strlen(name) > OBJECT_NAME_MAX || ingest->open ||
	    name_list_has(&ingest->names, name)) {
		warn("object %s: begun twice, or beside another, or badly named", name);
		ingest->failed = true;
		return R_FAILED;
	}
	return begin_object(ingest, name, kind, writer);
}

int object_begin(struct ingest *ingest, const char *name, struct object_writer **writer)
{
	return begin_named(ingest, name, KIND_DATA, writer);
}

int object_begin_sealed(struct ingest *ingest, const char *name, struct object_writer **writer)
{
	return begin_named(ingest, name, KIND_SEALED, writer);
}

static int check_order(struct object_writer *writer, uint64_t index, size_t n)
{
	if (index >= writer->next_index && index + n >= index) {
		writer->next_index = index + n;
		return R_OK;
	}
	warn("object %s: page %" PRIu64 " comes after page %" PRIu64, writer->name, index,
	     writer->next_index - 1);
	writer->failed = true;
	return R_FAILED;
}

uint64_t ingest_newest_number(const struct ingest *ingest)
{
	return ingest->last_predump ? ingest->last_predump : ingest->last_generation;
}

uint64_t ingest_misses(const struct ingest *ingest)
{
	return ingest->misses;
}

uint64_t ingest_newest(const struct ingest *ingest, uint8_t store_uuid[16])
{
	static_assert(UUID_BYTES == 16, "as callers have it");
	memcpy(store_uuid, ingest->store->uuid, UUID_BYTES);
	return ingest_newest_number(ingest);
}

int object_same(struct ingest *ingest, const char *name, uint64_t length_bytes, uint64_t pages)
{
	struct object old;

	if (ingest->last_generation == 0 || ingest->classifier.compare ||
	    name_list_has(&ingest->names, name) ||
	    store_object(ingest->view, ingest->last_generation, name, &old) != R_OK ||
	    old.length_bytes != length_bytes)
		return R_NOT_FOUND;
	if (name_list_add(&ingest->names, name, &old) != R_OK) {
		ingest->failed = true;
		return R_FAILED;
	}
	ingest->scanned += pages;
	ingest->shared += pages;
	return R_OK;
}

void object_drop(struct ingest *ingest, const char *name)
{
	name_list_remove(&ingest->names, name);
}

int ingest_read_newest(struct ingest *ingest, const char *name, void **data, size_t *len)
{
	struct object old;

	if (ingest->last_generation == 0 ||
	    store_object(ingest->view, ingest->last_generation, name, &old) != R_OK)
		return R_NOT_FOUND;
	return store_read_object(ingest->view, &old, data, len) == R_OK ? R_OK : R_NOT_FOUND;
}

/* Finishes the tree and frees the writer in any case. */
static int end_object(struct object_writer *writer, uint64_t length_bytes, struct object *object)
{
	struct ingest *ingest = writer->ingest;
	int result = R_FAILED;

	if (!writer->failed)
		result = tree_writer_end(writer->tree, object);
	object->length_bytes = length_bytes;
	if (result == R_OK && writer->name)
		result = name_list_add(&ingest->names, writer->name, object);
	if (result != R_OK)
		ingest->failed = true;
	free_object(writer);
	return result;
}

static int take_in(const struct spool_record *record)
{
	struct object_writer *writer = record->writer;
	struct object object;

	if (writer->failed && record->verb != SPOOL_END)
		return R_FAILED;
	switch (record->verb) {
	case SPOOL_BEGIN:
		writer->spooled = false;
		if (name_list_has(&writer->ingest->names, writer->name))
			warn("object %s: begun twice", writer->name);
		else if (open_object(writer) == R_OK)
			return R_OK;
		writer->failed = true;
		return R_FAILED;
	case SPOOL_PAGES:
		return take_in_pages(writer, record->index, record->pages, record->n);
	case SPOOL_ZERO:
		return take_in_zero(writer, record->index, record->n);
	case SPOOL_KEEP:
		return take_in_kept(writer, record->index, record->n);
	case SPOOL_CHECK:
		return take_in_checked(writer, record->index, record->pages, record->n);
	case SPOOL_END:
		return end_object(writer, record->index, &object);
	}
	return R_FAILED;
}

int ingest_spool(struct ingest *ingest, size_t max_bytes, size_t ready_bytes)
{
	if (ready_bytes > max_bytes)
		ready_bytes = max_bytes;
	ingest->spool = spool_new(max_bytes, ready_bytes);
	if (ingest->spool)
		return R_OK;
	warn("no memory for what a take hands over; free some and try again");
	return R_FAILED;
}

int ingest_unspool(struct ingest *ingest)
{
	const struct spool_record *record;
	int result = R_OK;

	while (result == R_OK && ingest->spool && (record = spool_next(ingest->spool)))
		result = take_in(record);
	if (result != R_OK) {
		ingest->failed = true;
		if (ingest->open) {
			ingest->open->spooled = false;
			ingest->open->failed = true;
		}
	}
	drop_spool(ingest);
	return result;
}

/* Takes something in, or remembers it for later. */
static int hand_over(struct object_writer *writer, enum spool_verb verb, uint64_t index,
		     const void *pages, size_t n)
{
	const struct spool_record record = { verb, writer, index, n, pages };
	int result;

	if (!writer->spooled)
		return take_in(&record);
	result = spool_add(writer->ingest->spool, &record);
	if (result != R_BUSY)
		return result;
	result = ingest_unspool(writer->ingest);
	return result == R_OK ? take_in(&record) : result;
}

int object_pages(struct object_writer *writer, uint64_t index, const void *pages, size_t n)
{
	if (check_order(writer, index, n) != R_OK)
		return R_FAILED;
	return hand_over(writer, SPOOL_PAGES, index, pages, n);
}

int object_zero(struct object_writer *writer, uint64_t index, size_t n)
{
	if (check_order(writer, index, n) != R_OK)
		return R_FAILED;
	return hand_over(writer, SPOOL_ZERO, index, NULL, n);
}

int object_keep(struct object_writer *writer, uint64_t index, size_t n)
{
	if (check_order(writer, index, n) != R_OK)
		return R_FAILED;
	return hand_over(writer, SPOOL_KEEP, index, NULL, n);
}

int object_check(struct object_writer *writer, uint64_t index, const void *pages, size_t n)
{
	if (check_order(writer, index, n) != R_OK)
		return R_FAILED;
	return hand_over(writer, SPOOL_CHECK, index, pages, n);
}

int object_numbers(struct object_writer *writer, uint64_t index, const page_no *numbers, size_t n)
{
	if (check_order(writer, index, n) != R_OK)
		return R_FAILED;
	if (!writer->spooled)
		return take_in_numbers(writer, index, numbers, n);
	warn("object %s: pages are referred to beside some that are spooled", writer->name);
	writer->failed = true;
	return R_FAILED;
}

void *object_room(struct object_writer *writer, size_t *n)
{
	return writer->spooled ? spool_room(writer->ingest->spool, n) : NULL;
}

int object_end(struct object_writer *writer, uint64_t length_bytes)
{
	struct ingest *ingest = writer->ingest;

	if (!writer->spooled)
		return hand_over(writer, SPOOL_END, length_bytes, NULL, 0);
	/* The record takes the writer over. */
	ingest->open = NULL;
	if (hand_over(writer, SPOOL_END, length_bytes, NULL, 0) == R_OK)
		return R_OK;
	ingest->failed = true;
	free_object(writer);
	return R_FAILED;
}

struct store_view *ingest_view(struct ingest *ingest)
{
	return ingest->view;
}

int object_take_over(struct ingest *ingest, const char *name, const struct object *old,
		     uint64_t pages)
{
	if (*name == '\0' || strlen(name) > OBJECT_NAME_MAX || ingest->open || ingest->spool) {
		warn("object %s: taken over beside another, or badly named", name);
		ingest->failed = true;
		return R_FAILED;
	}
	if (name_list_has(&ingest->names, name))
		return R_BUSY;
	ingest->scanned += pages;
	ingest->shared += pages;
	if (name_list_add(&ingest->names, name, old) == R_OK)
		return R_OK;
	ingest->failed = true;
	return R_FAILED;
}

/* Writes bytes as pages, the last one filled up with zeroes. */
static int write_bytes(struct object_writer *writer, const void *data, size_t len)
{
	size_t whole = len / PAGE_BYTES, rest = len % PAGE_BYTES;
	uint8_t last[PAGE_BYTES] = { 0 };

	if (object_pages(writer, 0, data, whole) != R_OK)
		return R_FAILED;
	if (rest == 0)
		return R_OK;
	memcpy(last, (const uint8_t *)data + whole * PAGE_BYTES, rest);
	return object_pages(writer, whole, last, 1);
}

int object_put(struct ingest *ingest, const char *name, const void *data, size_t len)
{
	struct object_writer *writer;
	int result;

	if (begin_named(ingest, name, KIND_IMAGE, &writer) != R_OK)
		return R_FAILED;
	result = write_bytes(writer, data, len);
	if (object_end(writer, len) != R_OK)
		return R_FAILED;
	return result;
}

static int write_directory(struct ingest *ingest, struct object *directory)
{
	struct object_writer *writer;

	if (begin_object(ingest, NULL, KIND_IMAGE, &writer) != R_OK)
		return R_FAILED;
	if (write_bytes(writer, ingest->names.bytes, ingest->names.len) != R_OK)
		writer->failed = true;
	return end_object(writer, ingest->names.len, directory);
}

void ingest_compare(struct ingest *ingest)
{
	ingest->classifier.compare = true;
}

static void count_bytes(const struct segment_writer *writer, struct generation *gen)
{
	struct segment_bytes bytes = segment_writer_bytes(writer);

	gen->bytes_data = bytes.kinds[KIND_DATA] + bytes.kinds[KIND_SEALED];
	gen->bytes_trees = bytes.kinds[KIND_NODE];
	gen->bytes_images = bytes.kinds[KIND_IMAGE];
	gen->bytes_headers =
	    gen->bytes_stored - gen->bytes_data - gen->bytes_trees - gen->bytes_images;
}

int ingest_commit(struct ingest *ingest, struct generation *gen)
{
	struct store *store = ingest->store;
	struct object directory;
	size_t segments;

	if (ingest->failed || ingest->open) {
		warn("lineage %s: something of this generation could not be stored: take it again",
		     ingest->lineage);
		return R_FAILED;
	}
	if (write_directory(ingest, &directory) != R_OK ||
	    segment_writer_finish(ingest->classifier.writer) != R_OK)
		return R_FAILED;
	snprintf(gen->lineage, sizeof(gen->lineage), "%s", ingest->lineage);
	gen->pinned = false;
	gen->pages_scanned = ingest->scanned;
	gen->pages_new = ingest->fresh;
	gen->pages_shared = ingest->shared;
	gen->pages_zero = ingest->zero;
	gen->bytes_logical = ingest->scanned * PAGE_BYTES;
	gen->bytes_stored = pack_writer_bytes(segment_writer_packs(ingest->classifier.writer));
	count_bytes(ingest->classifier.writer, gen);
	if (commit_generation(ingest->store, ingest->classifier.writer, &directory, gen) != R_OK)
		return R_FAILED;
	segment_writer_records(ingest->classifier.writer, &segments);
	free_ingest(ingest, true);
	commit_settle(store, segments);
	return R_OK;
}
