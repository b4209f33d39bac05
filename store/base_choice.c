#include "store/base_choice.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/delta.h"
#include "store/segment_read.h"

#include <stdlib.h>

/*
 * How many words more a difference may have for a shorter chain.  Those few make counters and
 * pointers, one or two of which change in a page at a time, a chain of a fifth of the length, and
 * so keep their pages from being stored in full at the end of long ones; figures in
 * docs/store-figures.md.
 */
#define MORE_WORDS 12u
#define MORE_PART 8u /* of a long difference: an eighth more */

struct base_chooser {
	struct page_chain chain;
};

struct base_chooser *base_chooser_new(void)
{
	struct base_chooser *chooser = malloc(sizeof(*chooser));

	if (!chooser)
		warn("out of memory");
	return chooser;
}

void base_chooser_free(struct base_chooser *chooser)
{
	free(chooser);
}

/* The first of the chain that will do; its last one does always. */
static uint32_t first_near(const struct page_chain *chain, const void *page)
{
	uint32_t last = chain->n - 1, least, most;

	if (last == 0)
		return 0;
	least = delta_count(page, chain->pages[last]);
	most = least + (least / MORE_PART > MORE_WORDS ? least / MORE_PART : MORE_WORDS);
	for (uint32_t i = 0; i < last; i++)
		if (delta_within(page, chain->pages[i], most))
			return i;
	return last;
}

int base_choose(struct base_chooser *chooser, struct store_view *view, page_no last,
		uint32_t depth_max, const void *page, page_no *base, const uint8_t **bytes)
{
	struct page_chain *chain = &chooser->chain;
	uint32_t at;
	int result;

	result = view_page_chain(view, last, chain);
	if (result == R_OK) {
		at = first_near(chain, page);
		if (at >= depth_max)
			return R_NOT_FOUND;
		*base = chain->numbers[at];
		*bytes = chain->pages[at];
		result = view_check_page(view, *base, *bytes);
	}
	return result == R_DAMAGED ? R_NOT_FOUND : result;
}
