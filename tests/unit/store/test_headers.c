/* More segments than a view keeps headers of: each page is what it was, in whatever order they are
 * asked for, and a header that cannot be had spoils no other. */
#include "versions.h"

#include "base/result.h"
#include "store/segment_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TIMES 200u
#define PAGES 4u
#define SPOILT 120u /* the time whose segment is damaged */

struct all {
	struct numbers numbers;
	struct store_view *view;
	size_t damaged;
};

static void take_all(struct store *store, struct all *all)
{
	struct generation gen;

	versions.pages = PAGES;
	for (uint64_t time = 0; time < TIMES; time++) {
		assert_int_equal(put_at(store, "a", time, &gen), R_OK);
		gather(store, time + 1, &all->numbers);
	}
	assert_int_equal(all->numbers.n, TIMES * PAGES);
}

static void read_one(struct all *all, size_t i, bool spoilt)
{
	page_no number = all->numbers.list[i], bad = PAGE_ABSENT;
	uint64_t page[512], expected[512];
	int result = store_read_pages(all->view, &number, 1, page, &bad);

	if (result == R_DAMAGED && spoilt) {
		all->damaged++;
		return;
	}
	assert_int_equal(result, R_OK);
	page_at(i / PAGES, all->numbers.index[i], expected);
	assert_memory_equal(page, expected, PAGE_BYTES);
}

/* From the first on, from the last on, and here and there. */
static void read_all(struct store *store, struct all *all, bool spoilt)
{
	size_t n = all->numbers.n;

	assert_int_equal(store_view_open(store, &all->view), R_OK);
	/* As where several read side by side, but more of them, so that fewer takes do. */
	all->view->cache->slots_max = 100;
	all->damaged = 0;
	for (size_t i = 0; i < n; i++)
		read_one(all, i, spoilt);
	assert_int_equal(all->view->cache->n_slots, 100);
	for (size_t i = n; i-- > 0;)
		read_one(all, i, spoilt);
	for (size_t i = 0; i < n; i++)
		read_one(all, i * 337 % n, spoilt);
	store_view_close(all->view);
}

static void headers(void **state)
{
	struct store *store = scratch_open(*state);
	struct all *all = calloc(1, sizeof(*all));

	assert_non_null(all);
	take_all(store, all);
	read_all(store, all, false);
	if (HASH_BITS == 128) {
		damage_pack(*state, SPOILT + 1, PACK_HEADER_BYTES, 40);
		read_all(store, all, true);
		/* What is new in it, and what later differs from that. */
		assert_in_range(all->damaged, 3, 3 * all->numbers.n / 2);
	}
	free(all);
	store_close(store);
	versions.pages = VERSION_PAGES;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(headers, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
