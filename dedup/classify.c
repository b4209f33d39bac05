#include "dedup/classify.h"

#include "base/result.h"
#include "store/commit.h"
#include "store/segment_read.h"

#include <string.h>

/* A damaged page, or other bytes with the same hash, do not confirm: the page is stored anew. */
static int confirm(int result, const uint8_t *stored, const void *page)
{
	if (result == R_FAILED)
		return R_FAILED;
	return result == R_OK && memcmp(stored, page, PAGE_BYTES) == 0 ? R_OK : R_NOT_FOUND;
}

/* Whether the page at the same place of the last generation has this hash, by its segment's header:
 * neighbours in memory are mostly neighbours there, so this costs no index look-up. */
static int unchanged(struct classifier *classifier, page_no expected, const void *page,
		     const uint8_t *hash)
{
	const uint8_t *old;
	int result;

	if (expected == PAGE_ABSENT || expected == PAGE_ZERO)
		return R_NOT_FOUND;
	result = view_page_hash(classifier->view, expected, &old);
	if (result == R_DAMAGED)
		return R_NOT_FOUND;
	if (result != R_OK)
		return result;
	if (memcmp(old, hash, HASH_BYTES) != 0)
		return R_NOT_FOUND;
	if (!classifier->compare)
		return R_OK;
	result = view_page(classifier->view, expected, &old);
	return confirm(result, old, page);
}

static int find_own(struct classifier *classifier, const void *page, const uint8_t *hash,
		    page_no *number)
{
	const uint8_t *stored = NULL;
	int result;

	*number = recent_find(classifier->recent, hash);
	if (*number == PAGE_ABSENT)
		return R_NOT_FOUND;
	result = segment_writer_page(classifier->writer, classifier->view, *number, &stored);
	return confirm(result, stored, page);
}

int classify_page(struct classifier *classifier, enum page_kind kind, const void *page,
		  const uint8_t *hash, page_no expected, page_no *number, bool *is_new)
{
	int result;

	*is_new = kind == KIND_SEALED;
	/* Encrypted anew each time: nothing equal is looked for, and nothing shall find it. */
	if (kind == KIND_SEALED)
		return segment_writer_add(classifier->writer, kind, hash, page, PAGE_ABSENT,
					  number);
	result = unchanged(classifier, expected, page, hash);
	if (result == R_OK) {
		*number = expected;
		return R_OK;
	}
	if (result == R_NOT_FOUND)
		result = find_own(classifier, page, hash, number);
	if (result == R_NOT_FOUND)
		result = view_find_page(classifier->view, hash, page, number);
	if (result != R_NOT_FOUND)
		return result;
	*is_new = true;
	if (expected == PAGE_ZERO)
		expected = PAGE_ABSENT;
	if (segment_writer_add(classifier->writer, kind, hash, page, expected, number) != R_OK)
		return R_FAILED;
	recent_add(classifier->recent, hash, *number);
	return R_OK;
}
