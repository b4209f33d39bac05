/* Objects of another generation as they are. */
#include "dedup/ingest_internal.h"

#include "base/result.h"
#include "base/warn.h"

#include <inttypes.h>

static int count_pages(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct ingest *ingest = arg;

	(void)index;
	ingest->scanned += n;
	for (size_t i = 0; i < n; i++) {
		if (numbers[i] == PAGE_ZERO)
			ingest->zero++;
		else
			ingest->shared++;
	}
	return 0;
}

int object_adopt(struct ingest *ingest, uint64_t generation, const char *name)
{
	struct object object;
	int result = R_FAILED;

	if (ingest->open || ingest->spool || name_list_has(&ingest->names, name))
		warn("object %s: taken over twice, or beside another", name);
	else
		result = store_object(ingest->view, generation, name, &object);
	if (result == R_NOT_FOUND)
		warn("generation %" PRIu64 " has no object %s", generation, name);
	if (result == R_OK)
		result =
		    store_object_walk(ingest->view, &object, 0, UINT64_MAX, count_pages, ingest);
	if (result == R_OK)
		result = name_list_add(&ingest->names, name, &object);
	if (result != R_OK)
		ingest->failed = true;
	return result;
}
