/*
 * With a hash of 8 bits hundreds of pages have the same one, in one generation, between two of a
 * lineage and between lineages.  Nothing may be mistaken for anything else: whoever finds a page by
 * its hash compares bytes.
 */
#include "scratch.h"

#include "base/result.h"
#include "gc/gc.h"
#include "store/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 3000

static void check(struct store *store, uint64_t generation, uint64_t seed)
{
	struct store_view *view;

	assert_int_equal(store_view_open(store, &view), R_OK);
	scratch_check(view, generation, seed, PAGES);
	store_view_close(view);
}

/* What this program is built for. */
static void hash_is_short(void **state)
{
	uint8_t page[PAGE_BYTES], hash[HASH_BYTES], secret[SECRET_BYTES] = { 1, 2, 3 };
	bool seen[256] = { false };
	size_t different = 0;

	(void)state;
	for (uint64_t i = 0; i < 2000; i++) {
		scratch_page(1, i, page);
		page_hash(secret, page, hash);
		for (size_t k = 1; k < HASH_BYTES; k++)
			assert_int_equal(hash[k], 0);
		different += !seen[hash[0]];
		seen[hash[0]] = true;
	}
	assert_in_range(different, 200, 256);
}

static void takes_and_reads(void **state)
{
	struct store *store = scratch_open(*state);
	const struct gc_options options = { 0 };
	struct store_verify_result verified;
	const uint64_t some[] = { 1, 3 };
	struct gc_result result;
	struct generation gen;

	/* Of pages that change altogether one in 256 has the hash of the one before. */
	for (uint64_t seed = 1; seed <= 4; seed++)
		assert_int_equal(scratch_take(store, seed % 2 ? "a" : "b", seed, PAGES, &gen),
				 R_OK);
	assert_int_equal(scratch_take_changed(store, "a", 3, 9, 3, PAGES, &gen), R_OK);
	assert_int_equal(scratch_take(store, "a", 3, PAGES, &gen), R_OK);
	assert_int_equal(scratch_take(store, "b", 3, PAGES, &gen), R_OK);
	for (uint64_t seed = 1; seed <= 4; seed++)
		check(store, seed, seed);
	check(store, 6, 3);
	check(store, 7, 3);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(verified.generations, 7);
	assert_int_equal(gc_forget(store, some, 2, &options, &result), R_OK);
	check(store, 2, 2);
	check(store, 6, 3);
	assert_int_equal(scratch_take(store, "c", 1, PAGES, &gen), R_OK);
	check(store, 8, 1);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	store_close(store);
}

/* The same page again at the same place is still known for what it is. */
static void unchanged_is_known(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;

	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(scratch_take(store, "a", 1, PAGES, &gen), R_OK);
	assert_int_equal(gen.pages_new, 0);
	check(store, 2, 1);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_short),
		cmocka_unit_test_setup_teardown(takes_and_reads, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(unchanged_is_known, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
