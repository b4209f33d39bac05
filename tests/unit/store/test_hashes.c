/* The hash index finds what was added, through merges and passes of gc, and nothing else. */
#include "store/hash_block.h"
#include "store/hash_filter.h"

#include "base/endian.h"
#include "base/result.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char *dir;
	struct index *index;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->dir = scratch_make();
	assert_int_equal(index_open(fixture->dir, true, true, &fixture->index), R_OK);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	index_close(fixture->index);
	scratch_remove(fixture->dir);
	free(fixture);
	return 0;
}

static void hash_of(uint64_t number, uint8_t hash[HASH_BYTES])
{
	uint64_t x = (number + 1) * 0x9e3779b97f4a7c15ull;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 32;
	memset(hash, 0, HASH_BYTES);
	memcpy(hash, &x, 8);
}

struct addition {
	uint64_t first, n;
};

static int add(struct index_txn *txn, void *arg)
{
	const struct addition *what = arg;
	struct hash_entry *entries = malloc(what->n * sizeof(*entries));
	int result;

	assert_non_null(entries);
	for (uint64_t i = 0; i < what->n; i++) {
		uint8_t hash[HASH_BYTES];

		hash_of(what->first + i, hash);
		entries[i] = (struct hash_entry){ hash_prefix(hash), what->first + i };
	}
	result = hash_index_add(txn, entries, what->n);
	free(entries);
	return result;
}

static void add_range(struct index *index, uint64_t first, uint64_t n)
{
	struct addition what = { first, n };

	assert_int_equal(index_write(index, add, &what), R_OK);
}

static uint64_t count_runs(struct index *index)
{
	struct index_txn *txn;
	uint64_t n;

	assert_int_equal(index_read_begin(index, &txn), R_OK);
	assert_int_equal(index_count(txn, DB_RUN, &n), R_OK);
	index_read_end(txn);
	return n;
}

/* How many of first .. first + n - 1, by steps, are found. */
static uint64_t count_found(struct index *index, uint64_t first, uint64_t n, uint64_t step)
{
	struct hash_runs *runs = hash_runs_new();
	struct index_txn *txn;
	uint64_t found = 0;

	assert_non_null(runs);
	assert_int_equal(index_read_begin(index, &txn), R_OK);
	for (uint64_t number = first; number < first + n; number += step) {
		page_no numbers[4];
		uint8_t hash[HASH_BYTES];
		size_t got;

		hash_of(number, hash);
		assert_int_equal(hash_index_find(txn, runs, hash, numbers, 4, &got), R_OK);
		assert_true(got <= 1);
		assert_true(got == 0 || numbers[0] == number);
		found += got;
	}
	index_read_end(txn);
	hash_runs_free(runs);
	return found;
}

static void finds_and_merges(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;
	uint64_t next = 2;

	for (uint64_t i = 0; i < 45; i++) {
		uint64_t n = i % 9 == 0 ? 30000 : 300 + i * 7;

		add_range(index, next, n);
		next += n;
		/* A small budget, so that merges are seen half-way. */
		assert_int_equal(hash_index_merge(index, 1000 + i * 50), R_OK);
		assert_int_equal(count_found(index, 2, next - 2, 97), (next - 2 + 96) / 97);
	}
	assert_int_equal(count_found(index, next, 5000, 1), 0);
	assert_int_equal(hash_index_merge(index, SIZE_MAX), R_OK);
	assert_in_range(count_runs(index), 1, 3 * 4);
	assert_int_equal(count_found(index, 2, next - 2, 1), next - 2);
}

static bool is_kept(uint64_t number)
{
	return number % 3 == 0;
}

struct pass {
	const struct page_set *keep;
	uint8_t key[HASH_KEY_BYTES], next[HASH_KEY_BYTES];
	uint64_t dropped;
	bool end;
};

static int drop(struct index_txn *txn, void *arg)
{
	struct pass *pass = arg;
	int result;

	memcpy(pass->next, pass->key, HASH_KEY_BYTES);
	result = hash_index_drop(txn, pass->keep, pass->next, 2000, &pass->dropped);
	pass->end = result == R_NOT_FOUND;
	return result == R_FAILED ? R_FAILED : R_OK;
}

/* What is not kept goes, though runs are merged between the steps of the pass. */
static void drops(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;
	struct page_set keep = { 0 };
	struct pass pass = { .keep = &keep };
	uint64_t next = 3, dropped = 0;
	struct index_txn *txn;

	for (uint64_t i = 0; i < 11; i++, next += 3000)
		add_range(index, next, 3000);
	for (uint64_t number = 3; number < next; number++)
		if (is_kept(number))
			assert_int_equal(page_set_add(&keep, number, NULL), R_OK);
	for (int i = 0; !pass.end; i++) {
		assert_int_equal(index_write(index, drop, &pass), R_OK);
		memcpy(pass.key, pass.next, HASH_KEY_BYTES);
		dropped += pass.dropped;
		if (i % 2)
			assert_int_equal(hash_index_merge(index, 1500), R_OK);
	}
	assert_int_equal(dropped, 11 * 2000);
	assert_int_equal(count_found(index, 3, next - 3, 1), 11 * 1000);
	assert_int_equal(count_found(index, 3, next - 3, 3), 11 * 1000);
	assert_int_equal(index_read_begin(index, &txn), R_OK);
	memset(pass.key, 0, HASH_KEY_BYTES);
	assert_int_equal(hash_index_seek(txn, &keep, pass.key), R_NOT_FOUND);
	index_read_end(txn);
	assert_int_equal(hash_index_merge(index, SIZE_MAX), R_OK);
	assert_int_equal(count_found(index, 3, next - 3, 3), 11 * 1000);
	page_set_clear(&keep);
}

static int add_equal(struct index_txn *txn, void *arg)
{
	struct hash_entry entries[2000];
	const uint64_t *first = arg;

	for (uint64_t i = 0; i < 2000; i++)
		entries[i] = (struct hash_entry){ i < 1900 ? 77 : 78, *first + i };
	return hash_index_add(txn, entries, 2000);
}

/* Far more pages of one hash than go into a block: some are found, and their neighbours all. */
static void equal_hashes(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;
	uint8_t hash[HASH_BYTES] = { 0, 0, 0, 0, 0, 77 };
	struct hash_runs *runs = hash_runs_new();
	struct index_txn *txn;
	page_no numbers[400];
	size_t n;

	assert_non_null(runs);
	for (uint64_t first = 10; first < 10 + 5 * 2000; first += 2000)
		assert_int_equal(index_write(index, add_equal, &first), R_OK);
	assert_int_equal(hash_index_merge(index, 3000), R_OK);
	assert_int_equal(hash_index_merge(index, SIZE_MAX), R_OK);
	assert_int_equal(index_read_begin(index, &txn), R_OK);
	assert_int_equal(hash_index_find(txn, runs, hash, numbers, 5, &n), R_OK);
	assert_int_equal(n, 5);
	hash[5] = 78;
	assert_int_equal(hash_index_find(txn, runs, hash, numbers, 400, &n), R_OK);
	assert_true(n >= 100);
	hash[5] = 76;
	assert_int_equal(hash_index_find(txn, runs, hash, numbers, 400, &n), R_OK);
	assert_int_equal(n, 0);
	index_read_end(txn);
	hash_runs_free(runs);
}

/* The same where a table is too large to be mapped: blocks are read from the file, and a filter is
 * made in the middle of a search. */
static void beside_the_map(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;

	hash_index_set_mapped_blocks(1);
	finds_and_merges(state);
	assert_int_equal(count_found(index, 1000000, 20000, 1), 0);
	equal_hashes(state);
	hash_index_set_mapped_blocks(0);
}

/* What was put in is in it; of the rest no more than its header says. */
static void filters(void **state)
{
	static const uint64_t entries[] = { 1, 100, 100000, 1000000 };

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct hash_filter *filter = hash_filter_new(entries[i]);
		uint8_t hash[HASH_BYTES];
		uint64_t wrong = 0;

		assert_non_null(filter);
		for (uint64_t n = 0; n < entries[i]; n++) {
			hash_of(n, hash);
			hash_filter_add(filter, hash_prefix(hash));
		}
		hash_filter_add(filter, PREFIX_MAX);
		hash_filter_add(filter, 0);
		for (uint64_t n = 0; n < entries[i]; n++) {
			hash_of(n, hash);
			assert_true(hash_filter_may_have(filter, hash_prefix(hash)));
			hash_of(n + entries[i], hash);
			wrong += hash_filter_may_have(filter, hash_prefix(hash));
		}
		assert_true(hash_filter_may_have(filter, PREFIX_MAX));
		assert_true(hash_filter_may_have(filter, 0));
		assert_true(wrong <= 2 + entries[i] / 25);
		hash_filter_free(filter);
	}
	assert_null(hash_filter_new(UINT64_C(1) << 40));
}

static int add_equal_at_border(struct index_txn *txn, void *arg)
{
	struct hash_entry entries[3 * BLOCK_ENTRIES];

	(void)arg;
	for (size_t i = 0; i < 3 * BLOCK_ENTRIES; i++)
		entries[i] = (struct hash_entry){ 10 + i, 2 + i };
	entries[BLOCK_ENTRIES].prefix = entries[BLOCK_ENTRIES - 1].prefix;
	for (uint64_t run = 0; run < 4; run++) {
		if (hash_index_add(txn, entries, 3 * BLOCK_ENTRIES) != R_OK)
			return R_FAILED;
		/* The other runs come behind the first in order of hash. */
		for (size_t i = 0; i < 3 * BLOCK_ENTRIES; i++)
			entries[i].prefix += 100000;
	}
	return R_OK;
}

/* A merge that stops between two equal hashes, which two blocks share, takes neither away. */
static void stops_between_equal(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;
	struct hash_runs *runs = hash_runs_new();
	struct index_txn *txn;

	assert_non_null(runs);
	assert_int_equal(index_write(index, add_equal_at_border, NULL), R_OK);
	assert_int_equal(hash_index_merge(index, BLOCK_ENTRIES - 1), R_OK);
	assert_int_equal(index_read_begin(index, &txn), R_OK);
	for (uint64_t i = 0; i < 3 * BLOCK_ENTRIES; i++) {
		uint8_t hash[HASH_BYTES] = { 0 };
		page_no number;
		size_t got;

		put_be64(hash, (10 + i) << 16);
		assert_int_equal(hash_index_find(txn, runs, hash, &number, 1, &got), R_OK);
		assert_int_equal(got, i == BLOCK_ENTRIES ? 0 : 1);
	}
	index_read_end(txn);
	hash_runs_free(runs);
}

static int put_short_key(struct index_txn *txn, void *arg)
{
	uint8_t key[HASH_KEY_BYTES], value[BLOCK_ENTRY_BYTES] = { 0 };
	int result = R_OK;

	(void)arg;
	for (uint64_t i = 0; result == R_OK && i < 3; i++) {
		block_key(key, 1, i);
		result = index_put(txn, DB_HASH, key, sizeof(key), value, sizeof(value), true);
	}
	return result == R_OK ? index_put(txn, DB_HASH, "zz", 2, value, sizeof(value), true)
			      : result;
}

static enum sweep keep_all(const void *key, const void *value, size_t size, void *arg)
{
	(void)key;
	(void)value;
	(void)size;
	(void)arg;
	return SWEEP_KEEP;
}

/* A key of another length is damage, wherever a pass stops: it must not go round for ever. */
static void short_key(void **state)
{
	struct index *index = ((struct fixture *)*state)->index;
	struct index_txn *txn;

	assert_int_equal(index_write(index, put_short_key, NULL), R_OK);
	assert_int_equal(index_read_begin(index, &txn), R_OK);
	for (size_t most = 1; most <= 4; most++) {
		uint8_t key[HASH_KEY_BYTES] = { 0 };
		int result = R_OK;

		for (int calls = 0; result == R_OK && calls < 5; calls++)
			result = index_sweep(txn, DB_HASH, key, sizeof(key), most, keep_all, NULL);
		assert_int_equal(result, R_FAILED);
	}
	index_read_end(txn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_and_merges, setup, teardown),
		cmocka_unit_test_setup_teardown(beside_the_map, setup, teardown),
		cmocka_unit_test(filters),
		cmocka_unit_test_setup_teardown(drops, setup, teardown),
		cmocka_unit_test_setup_teardown(equal_hashes, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_between_equal, setup, teardown),
		cmocka_unit_test_setup_teardown(short_key, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
