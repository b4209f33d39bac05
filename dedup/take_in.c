/* What becomes of a page that is taken in. */
#include "dedup/ingest_internal.h"

#include "base/result.h"
#include "base/warn.h"

#include <inttypes.h>

static int write_page(struct object_writer *writer, uint64_t index, const uint8_t *page,
		      const struct digest *digest)
{
	struct ingest *ingest = writer->ingest;
	page_no expected = PAGE_ABSENT, number, ignored;
	const page_no *old;
	bool is_new;

	writer->last_number = PAGE_ZERO;
	if (digest->zero) {
		ingest->zero += writer->name != NULL;
		return tree_writer_put(writer->tree, index, PAGE_ZERO);
	}
	if (writer->previous) {
		old = previous_node(writer->previous, 1, index / NODE_ENTRIES, &ignored);
		if (old)
			expected = old[index % NODE_ENTRIES];
	}
	if (classify_page(&ingest->classifier, writer->kind, page, digest->hash, expected, &number,
			  &is_new) != R_OK)
		return R_FAILED;
	if (writer->name && is_new)
		ingest->fresh++;
	else if (writer->name)
		ingest->shared++;
	writer->last_number = number;
	return tree_writer_put(writer->tree, index, number);
}

int take_in_pages(struct object_writer *writer, uint64_t index, const void *pages, size_t n)
{
	struct ingest *ingest = writer->ingest;
	const uint8_t *page = pages;

	if (writer->name)
		ingest->scanned += n;
	for (size_t i = 0; i < n; i++, page += PAGE_BYTES) {
		size_t at = i % DIGEST_PAGES;

		if (at == 0)
			digest_pages(ingest->crew, ingest->store->secret, page,
				     n - i < DIGEST_PAGES ? n - i : DIGEST_PAGES, ingest->digests);
		if (write_page(writer, index + i, page, &ingest->digests[at]) != R_OK) {
			writer->failed = true;
			return R_FAILED;
		}
	}
	return R_OK;
}

int take_in_zero(struct object_writer *writer, uint64_t index, size_t n)
{
	writer->ingest->scanned += n;
	writer->ingest->zero += n;
	for (size_t i = 0; i < n; i++) {
		if (tree_writer_put(writer->tree, index + i, PAGE_ZERO) != R_OK) {
			writer->failed = true;
			return R_FAILED;
		}
	}
	return R_OK;
}

/* The numbers of the last generation's node that has this index; NULL if it has none. */
static const page_no *last_numbers(struct object_writer *writer, uint64_t index)
{
	page_no ignored;

	return writer->previous && writer->is_newest
		   ? previous_node(writer->previous, 1, index / NODE_ENTRIES, &ignored)
		   : NULL;
}

int take_in_kept(struct object_writer *writer, uint64_t index, size_t n)
{
	struct ingest *ingest = writer->ingest;

	ingest->scanned += n;
	for (size_t i = 0; i < n; i++) {
		const page_no *old = last_numbers(writer, index + i);
		page_no number = old ? old[(index + i) % NODE_ENTRIES] : PAGE_ABSENT;

		if (number == PAGE_ABSENT) {
			uint64_t newest = ingest_newest_number(ingest);

			warn("object %s: page %" PRIu64 " is not in %s %" PRIu64
			     " as it should be: take it again",
			     writer->name, index + i,
			     ingest->last_predump ? "pre-dump" : "generation",
			     store_number_shown(newest));
			writer->failed = true;
			return R_FAILED;
		}
		if (number == PAGE_ZERO)
			ingest->zero++;
		else
			ingest->shared++;
		if (tree_writer_put(writer->tree, index + i, number) != R_OK) {
			writer->failed = true;
			return R_FAILED;
		}
	}
	return R_OK;
}

int take_in_numbers(struct object_writer *writer, uint64_t index, const page_no *numbers, size_t n)
{
	struct ingest *ingest = writer->ingest;

	ingest->scanned += n;
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] == PAGE_ZERO)
			ingest->zero++;
		else
			ingest->shared++;
		if (tree_writer_put(writer->tree, index + i, numbers[i]) != R_OK) {
			writer->failed = true;
			return R_FAILED;
		}
	}
	return R_OK;
}

int take_in_checked(struct object_writer *writer, uint64_t index, const uint8_t *pages, size_t n)
{
	struct ingest *ingest = writer->ingest;

	for (size_t i = 0; i < n; i++, pages += PAGE_BYTES) {
		const page_no *old = last_numbers(writer, index + i);
		page_no number = old ? old[(index + i) % NODE_ENTRIES] : PAGE_ABSENT;

		if (take_in_pages(writer, index + i, pages, 1) != R_OK)
			return R_FAILED;
		if (writer->last_number == number)
			continue;
		warn("object %s: page %" PRIu64 " was written, but not noted (%" PRIu64
		     " before, %" PRIu64 " now)",
		     writer->name, index + i, number, writer->last_number);
		ingest->misses++;
	}
	return R_OK;
}
