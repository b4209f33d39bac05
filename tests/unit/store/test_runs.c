/* Runs of words say the same as the bitmap they were made of. */
#include "store/delta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void set(uint8_t *bitmap, unsigned int word)
{
	bitmap[word / 8] |= (uint8_t)(1u << word % 8);
}

/* Bitmap and runs make the same of a page, and the runs are as many as there are. */
static void same(const uint8_t *bitmap, uint32_t n_runs)
{
	uint8_t runs[DELTA_RUN_BYTES * DELTA_RUNS_MAX], again[DELTA_BITMAP_BYTES];
	uint8_t by_bitmap[PAGE_BYTES], by_runs[PAGE_BYTES];
	uint32_t n_words = delta_bitmap_count(bitmap);
	uint8_t *words = malloc(8 * (size_t)n_words); /* no more than there are */
	struct delta_head head;

	assert_non_null(words);
	for (uint32_t i = 0; i < 8 * n_words; i++)
		words[i] = (uint8_t)(i * 7 + i / 256 + 1);
	assert_int_equal(delta_make_runs(bitmap, &head, runs), n_runs);
	assert_int_equal(head.words_less_1 + 1, n_words);
	assert_int_equal(head.runs[0] + head.runs[1], n_runs);
	delta_bitmap_of_runs(head, runs, again);
	assert_memory_equal(bitmap, again, DELTA_BITMAP_BYTES);
	memset(by_bitmap, 0, PAGE_BYTES);
	memset(by_runs, 0, PAGE_BYTES);
	delta_apply(by_bitmap, bitmap, words);
	delta_apply_runs(by_runs, head, runs, words);
	assert_memory_equal(by_bitmap, by_runs, PAGE_BYTES);
	free(words);
}

/* One run of every length at every place; one that goes over the middle is two. */
static void one_run(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= DELTA_WORDS_MAX; n += n < 70 ? 1 : 31) {
		for (unsigned int at = 0; at + n <= DELTA_WORDS; at += 1 + at % 3) {
			uint8_t bitmap[DELTA_BITMAP_BYTES] = { 0 };

			for (unsigned int i = 0; i < n; i++)
				set(bitmap, at + i);
			same(bitmap, at < DELTA_WORDS / 2 && at + n > DELTA_WORDS / 2 ? 2 : 1);
		}
	}
}

/* As many runs as there can be, and a whole half. */
static void most(void **state)
{
	uint8_t even[DELTA_BITMAP_BYTES], odd[DELTA_BITMAP_BYTES], half[DELTA_BITMAP_BYTES];

	(void)state;
	memset(even, 0x55, sizeof(even));
	memset(odd, 0xaa, sizeof(odd));
	same(even, DELTA_RUNS_MAX);
	same(odd, DELTA_RUNS_MAX);
	memset(half, 0, sizeof(half));
	memset(half + sizeof(half) / 2, 0xff, sizeof(half) / 2);
	same(half, 1);
	memset(half, 0, sizeof(half));
	memset(half, 0xff, sizeof(half) / 2);
	same(half, 1);
}

/* Words here and there. */
static void scattered(void **state)
{
	uint64_t x = 88172645463325252ull;

	(void)state;
	for (unsigned int round = 0; round < 3000; round++) {
		uint8_t bitmap[DELTA_BITMAP_BYTES] = { 0 };
		uint32_t n = 0;

		for (unsigned int i = 0; i <= round % 200; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			set(bitmap, (unsigned int)(x >> 20) % DELTA_WORDS);
		}
		for (unsigned int i = 0; i < DELTA_WORDS; i++) {
			bool before =
			    i % (DELTA_WORDS / 2) && bitmap[(i - 1) / 8] >> (i - 1) % 8 & 1;

			n += (bitmap[i / 8] >> i % 8 & 1) && !before;
		}
		same(bitmap, n);
	}
}

/* Whatever head and runs say, no more is read than the words there are, nor written than the page:
 * each lies in memory of just that length, where who looks for it sees it. */
static void forged(void **state)
{
	uint8_t *page = malloc(PAGE_BYTES), bitmap[DELTA_BITMAP_BYTES] = { 0 };
	uint8_t runs[DELTA_RUN_BYTES * DELTA_RUNS_MAX];
	struct delta_head head;
	uint8_t *words;

	(void)state;
	assert_non_null(page);
	for (unsigned int i = 0; i < 60; i++)
		set(bitmap, i * 8 + i % 3);
	words = calloc(60, 8);
	assert_non_null(words);
	assert_int_equal(delta_make_runs(bitmap, &head, runs), 60);
	for (unsigned int at = 0; at < 60 * DELTA_RUN_BYTES; at++) {
		uint8_t byte = runs[at];

		for (unsigned int other = 0; other < 256; other++) {
			runs[at] = (uint8_t)other;
			delta_apply_runs(page, head, runs, words);
			delta_bitmap_of_runs(head, runs, bitmap);
		}
		runs[at] = byte;
	}
	free(words);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_run),
		cmocka_unit_test(most),
		cmocka_unit_test(scattered),
		cmocka_unit_test(forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
