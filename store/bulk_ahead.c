/*
 * Finding out where a page lies means to look at what its segment tells of it, then at the same of
 * the page it differs from: at memory that was not looked at for long.  So what is known of pages
 * comes nearer while others are planned, and what is known of their bases, once these can be seen.
 */
#include "store/bulk_internal.h"

/* How many pages before it is planned a page is looked for, and its base. */
#define PAGE_AHEAD 8u
#define BASE_AHEAD 4u

static void fetch_page(struct segment_cache *cache, const struct wanted *wanted, size_t n, size_t i)
{
	if (i < n)
		cached_fetch_ahead(cache, wanted[i].number, true);
}

static void fetch_base(struct segment_cache *cache, const struct wanted *wanted, size_t n, size_t i)
{
	page_no base = i < n ? cached_base(cache, wanted[i].number) : PAGE_ABSENT;

	if (base != PAGE_ABSENT)
		cached_fetch_ahead(cache, base, false);
}

void bulk_plan_ahead(struct segment_cache *cache, const struct wanted *wanted, size_t n, size_t i)
{
	for (size_t k = 0; i == 0 && k < PAGE_AHEAD; k++)
		fetch_page(cache, wanted, n, k);
	for (size_t k = 0; i == 0 && k < BASE_AHEAD; k++)
		fetch_base(cache, wanted, n, k);
	fetch_page(cache, wanted, n, i + PAGE_AHEAD);
	fetch_base(cache, wanted, n, i + BASE_AHEAD);
}
