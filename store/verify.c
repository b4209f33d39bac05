#include "base/result.h"
#include "base/warn.h"
#include "store/index_copy.h"
#include "store/page_set.h"
#include "store/segment_read.h"
#include "store/tree.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_PAGES 4096

/* Pages read together, in the order of what they are differences to: so a base is unpacked once for
 * all generations whose pages are gathered here. */
#define BATCH_PAGES (1u << 20)
#define READ_PAGES 1024u

struct batch {
	struct to_read {
		page_no root, number; /* root: the full page under it */
	} * pages;		      /* BATCH_PAGES */
	size_t n;
	uint8_t *buffer; /* READ_PAGES */
};

/*
 * Two passes.  The first looks at every distinct page once and gathers the bad ones; only if there
 * are any does the second walk all trees in full and tell of each place that refers to one.
 */
struct verify {
	struct store_view *view;
	const struct store_verify_options *options;
	struct store_verify_result *result;
	struct visited visited;
	struct page_set bad;
	bool any_bad, telling; /* telling: the second pass */
	struct batch *batch;   /* of pages to be read; NULL without `data` */
	uint64_t total_pages, read;
	/* Where the walk is. */
	struct generation generation;
	const char *object; /* NULL: the directory */
	bool directory_bad;
};

static void tell(struct verify *verify, uint64_t index, page_no number, const char *reason)
{
	struct store_damage damage = {
		.generation = store_number_shown(verify->generation.number),
		.predump = verify->generation.predump,
		.object = verify->object,
		.index = index,
		.number = number,
		.reason = reason,
	};

	verify->result->damaged++;
	if (!verify->object)
		verify->directory_bad = true;
	if (verify->options->damage)
		verify->options->damage(&damage, verify->options->arg);
}

/* Whether all the page is a difference to is there and, with `data`, whole. */
static int check_bases(struct store_view *view, page_no number, bool data)
{
	const uint8_t *page;
	page_no base;
	int result;

	result = view_page_base(view, number, &base);
	/* The base reads as whole only if its own bases are. */
	if (result == R_OK && data)
		return view_page(view, base, &page);
	while (result == R_OK && base != PAGE_ABSENT)
		result = view_page_base(view, base, &base);
	return result;
}

static const char *reason_of(struct verify *verify, page_no number)
{
	const struct segment *segment;
	uint32_t place;

	if (view_segment(verify->view, number, &segment, &place) != R_OK)
		return "its segment is missing or its header damaged";
	if (check_bases(verify->view, number, verify->options->data) != R_OK)
		return "it is stored as a difference to a page that is damaged or missing";
	return "its bytes are not what was written";
}

static int note_bad(struct verify *verify, page_no number)
{
	verify->any_bad = true;
	return page_set_add(&verify->bad, number, NULL);
}

static int by_root(const void *a, const void *b)
{
	const struct to_read *x = a, *y = b;

	if (x->root != y->root)
		return x->root < y->root ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static int read_one_by_one(struct verify *verify, const page_no *numbers, size_t n)
{
	int result = R_OK;

	for (size_t i = 0; result == R_OK && i < n; i++) {
		const uint8_t *page;

		result = view_page(verify->view, numbers[i], &page);
		if (result == R_DAMAGED)
			result = note_bad(verify, numbers[i]);
	}
	return result;
}

static int read_batch(struct verify *verify)
{
	struct batch *batch = verify->batch;
	page_no numbers[READ_PAGES], bad;
	int result = R_OK;

	if (!batch)
		return R_OK;
	qsort(batch->pages, batch->n, sizeof(*batch->pages), by_root);
	for (size_t i = 0, n; result == R_OK && i < batch->n; i += n) {
		for (n = 0; n < READ_PAGES && i + n < batch->n; n++)
			numbers[n] = batch->pages[i + n].number;
		result = store_read_pages(verify->view, numbers, n, batch->buffer, &bad);
		if (result == R_DAMAGED)
			result = read_one_by_one(verify, numbers, n);
		verify->read += n;
		if (verify->options->progress)
			verify->options->progress(verify->read, verify->total_pages,
						  verify->options->arg);
	}
	batch->n = 0;
	return result;
}

static int add_to_batch(struct verify *verify, page_no number)
{
	struct batch *batch = verify->batch;
	page_no root = number, base;
	int result;

	while ((result = view_page_base(verify->view, root, &base)) == R_OK && base != PAGE_ABSENT)
		root = base;
	if (result != R_OK)
		return result;
	batch->pages[batch->n++] = (struct to_read){ root, number };
	return batch->n == BATCH_PAGES ? read_batch(verify) : R_OK;
}

static int check_page(struct verify *verify, page_no number)
{
	const uint8_t *page;
	bool added;
	int result;

	if (number == PAGE_ZERO)
		return R_OK;
	if (page_set_add(&verify->visited.pages, number, &added) != R_OK)
		return R_FAILED;
	/* Pages of a directory are always read: without them nothing else is found. */
	if (!added && verify->object)
		return R_OK;
	if (!verify->object)
		result = view_page(verify->view, number, &page);
	else if (verify->options->data)
		result = add_to_batch(verify, number);
	else
		result = check_bases(verify->view, number, false);
	verify->result->pages += added;
	if (verify->options->progress && !verify->options->data &&
	    verify->result->pages % PROGRESS_PAGES == 0)
		verify->options->progress(verify->result->pages, verify->total_pages,
					  verify->options->arg);
	if (result == R_DAMAGED && !verify->object)
		verify->directory_bad = true;
	return result == R_DAMAGED ? note_bad(verify, number) : result;
}

static int visit_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct verify *verify = arg;

	for (size_t i = 0; i < n; i++) {
		if (verify->telling) {
			if (page_set_has(&verify->bad, numbers[i]))
				tell(verify, index + i, numbers[i], reason_of(verify, numbers[i]));
		} else if (check_page(verify, numbers[i]) != R_OK) {
			return R_FAILED;
		}
	}
	return R_OK;
}

static bool visit_enter(page_no number, unsigned int level, void *arg)
{
	struct verify *verify = arg;

	if (verify->telling)
		return true;
	if (!visited_node(&verify->visited, number, level))
		return !verify->object; /* see check_page() */
	verify->result->pages++;
	return true;
}

static int visit_damaged(page_no number, uint64_t index, void *arg)
{
	struct verify *verify = arg;

	if (!verify->telling) {
		if (!verify->object)
			verify->directory_bad = true;
		return note_bad(verify, number);
	}
	tell(verify, index, number, "a node of the page tree, all below it is lost");
	return R_OK;
}

static int verify_object(const char *name, const struct object *object, void *arg)
{
	struct verify *verify = arg;
	const struct tree_visitor visitor = {
		.enter = visit_enter,
		.pages = visit_pages,
		.damaged = visit_damaged,
		.end = UINT64_MAX,
	};

	verify->object = name;
	if (name && !verify->telling)
		verify->result->objects++;
	return tree_visit(verify->view, object, &visitor, verify);
}

static int verify_generation(struct verify *verify, const struct generation_record *record)
{
	int result;

	verify->generation = record->gen;
	verify->directory_bad = false;
	if (!verify->telling)
		verify->result->generations++;
	result = verify_object(NULL, &record->directory, verify);
	if (result != R_OK)
		return result;
	if (verify->directory_bad)
		return R_OK; /* what it named cannot be known */
	return store_object_each(verify->view, record->gen.number, verify_object, verify);
}

static int walk(struct verify *verify)
{
	struct generation_record record;
	uint64_t next = verify->options->generation;
	int result;

	while ((result = generation_ceiling(verify->view->txn, next, &record)) == R_OK) {
		if (verify->options->generation && record.gen.number != next)
			return R_NOT_FOUND;
		result = verify_generation(verify, &record);
		if (result == R_OK && verify->visited.failed)
			result = R_FAILED;
		if (result != R_OK)
			return result;
		if (verify->options->generation)
			return R_OK;
		next = record.gen.number + 1;
	}
	if (result == R_NOT_FOUND && !verify->options->generation)
		return R_OK;
	return result;
}

/* Every page makes sense and every table is what was written, those of hashes too, which no other
 * command reads in full. */
static int verify_sums(struct verify *verify)
{
	int result = index_walk(verify->view->store->index, true);
	struct index_copy copy;

	if (result == R_DAMAGED)
		tell(verify, 0, 0, "a page of it is not what was written");
	else if (result != R_OK)
		return result;
	result = index_copy_read(verify->view->store->dirfd, verify->view->store->dir, &copy);
	index_copy_free(&copy);
	if (result == R_DAMAGED)
		tell(verify, 0, 0, "its copy, index-copy, is not what was written");
	else if (result == R_FAILED)
		return result;
	for (enum index_db db = 0; db < DB_COUNT; db++) {
		result = index_check(verify->view->txn, db);

		if (result == R_DAMAGED)
			tell(verify, 0, 0, "a table of it is not what was written");
		else if (result != R_OK)
			return result;
	}
	return R_OK;
}

/* The segments do not overlap, and each lies in a pack the index knows. */
static int verify_index(struct verify *verify)
{
	uint8_t raw[SEGMENT_RECORD_BYTES], pack[PACK_RECORD_BYTES];
	struct segment_record record;
	uint64_t next = 0, last = 0, first;
	int result;

	while ((result = index_ceiling(verify->view->txn, DB_SEGMENT, next, &first, raw,
				       sizeof(raw))) == R_OK) {
		segment_record_decode(first, raw, &record);
		verify->total_pages += record.pages;
		next = first + 1;
		if (record.last < first)
			tell(verify, 0, first, "an impossible segment in the index");
		else if (first <= last)
			tell(verify, 0, first, "a segment in the index overlaps the one before it");
		last = record.last;
		result = index_get_u64(verify->view->txn, DB_PACK, record.pack, pack, sizeof(pack));
		if (result == R_NOT_FOUND)
			tell(verify, 0, first, "a segment in a pack the index does not know");
		else if (result != R_OK)
			return result;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static void free_batch(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->pages);
	free(batch->buffer);
	free(batch);
}

static int make_batch(struct verify *verify)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	verify->batch = batch;
	if (batch) {
		batch->pages = malloc(BATCH_PAGES * sizeof(*batch->pages));
		batch->buffer = malloc(READ_PAGES * PAGE_BYTES);
	}
	if (batch && batch->pages && batch->buffer)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

int store_verify(struct store_view *view, const struct store_verify_options *options,
		 struct store_verify_result *result)
{
	struct verify verify = { .view = view, .options = options, .result = result };
	int outcome;

	memset(result, 0, sizeof(*result));
	outcome = verify_sums(&verify);
	if (outcome == R_OK)
		outcome = verify_index(&verify);
	if (outcome == R_OK && options->data)
		outcome = make_batch(&verify);
	if (outcome == R_OK)
		outcome = walk(&verify);
	if (outcome == R_OK)
		outcome = read_batch(&verify);
	if (outcome == R_OK && verify.any_bad) {
		verify.telling = true;
		outcome = walk(&verify);
	}
	if (outcome == R_OK && options->progress)
		options->progress(verify.total_pages, verify.total_pages, options->arg);
	free_batch(verify.batch);
	visited_clear(&verify.visited);
	page_set_clear(&verify.bad);
	if (outcome == R_OK && result->damaged > 0)
		return R_DAMAGED;
	return outcome;
}
