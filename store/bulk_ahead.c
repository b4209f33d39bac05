/*
 * Finding out where a page lies means to look at what its segment tells of it, then at the same of
 * the page it differs from, and so on: each time at memory that was not looked at for long, and
 * which cannot be known before the last look.  So this is done for several pages side by side: what
 * is known of one comes nearer while the base of another and the base of that one's base are looked
 * at.
 */
#include "store/bulk_internal.h"

/* How many pages before it is planned a page is looked at, its base, and the base of that. */
#define PAGE_AHEAD 12u
#define BASE_AHEAD 8u
#define NEXT_AHEAD 4u
_Static_assert(BASE_AHEAD < AHEAD_PAGES, "bases are kept until they are needed");

static void fetch_page(struct store_view *view, const struct wanted *wanted, size_t n, size_t i)
{
	if (i < n)
		cached_fetch_ahead(view->cache, wanted[i].number, true);
}

static void fetch_base(struct store_view *view, const struct wanted *wanted, size_t n, size_t i)
{
	page_no base;

	if (i >= n)
		return;
	base = cached_base(view->cache, wanted[i].number);
	view->cache->bulk->bases[i % AHEAD_PAGES] = base;
	if (base != PAGE_ABSENT)
		cached_fetch_ahead(view->cache, base, false);
}

static void fetch_next_base(struct store_view *view, size_t n, size_t i)
{
	page_no base;

	if (i >= n || (base = view->cache->bulk->bases[i % AHEAD_PAGES]) == PAGE_ABSENT)
		return;
	base = cached_base(view->cache, base);
	if (base != PAGE_ABSENT)
		cached_fetch_ahead(view->cache, base, false);
}

void bulk_plan_ahead(struct store_view *view, const struct wanted *wanted, size_t n, size_t i)
{
	if (i == 0) {
		for (size_t k = 0; k < PAGE_AHEAD; k++)
			fetch_page(view, wanted, n, k);
		for (size_t k = 0; k < BASE_AHEAD; k++)
			fetch_base(view, wanted, n, k);
		for (size_t k = 0; k < NEXT_AHEAD; k++)
			fetch_next_base(view, n, k);
	}
	fetch_page(view, wanted, n, i + PAGE_AHEAD);
	fetch_base(view, wanted, n, i + BASE_AHEAD);
	fetch_next_base(view, n, i + NEXT_AHEAD);
}
