/* What a survey makes of the words of a page map, with a file in the place of /proc/PID/pagemap. */
#include "engine/proc/capture/soft_dirty.h"
#include "engine/proc/capture/survey.h"

#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096ull
#define BASE 0x7f0000000000ull

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define FILE_PAGE (1ull << 61)
#define GUARD (1ull << 58)
#define SOFT_DIRTY (1ull << 55)

/* A page map that says `words` of the `n` pages from `start` on. */
static struct pagemap fake(uint64_t start, const uint64_t *words, size_t n)
{
	struct pagemap map = { .pid = 1, .no_scan = true };

	map.fd = memfd_create("pagemap", MFD_CLOEXEC);
	assert_true(map.fd >= 0);
	assert_int_equal(pwrite(map.fd, words, n * 8, (off_t)(start / PAGE * 8)), n * 8);
	return map;
}

static void expect(const struct survey *survey, size_t i, uint64_t from, uint64_t to,
		   enum survey_kind kind)
{
	assert_true(i < survey->n);
	assert_int_equal(survey->regions[i].start, BASE + from * PAGE);
	assert_int_equal(survey->regions[i].end, BASE + to * PAGE);
	assert_int_equal(survey->regions[i].kind, kind);
}

/* Pages without the bit are kept if they are there and the task's own. */
static void keeps_clean_pages(void **state)
{
	const uint64_t words[] = {
		PRESENT,			  /* clean */
		PRESENT,			  /* clean */
		PRESENT | SOFT_DIRTY,		  /* written */
		0,				  /* nothing, or dropped since */
		SOFT_DIRTY,			  /* nothing, in a new range */
		PRESENT | FILE_PAGE,		  /* of the file, not the task's */
		PRESENT | FILE_PAGE | SOFT_DIRTY, /* likewise */
		SWAPPED,			  /* clean, but not in memory: read */
		SWAPPED | SOFT_DIRTY,
		GUARD,
		PRESENT,
	};
	size_t n = sizeof(words) / sizeof(words[0]);
	struct pagemap map = fake(BASE, words, n);
	struct survey survey = { 0 };

	(void)state;
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_SOFT_DIRTY),
			 R_OK);
	expect(&survey, 0, 0, 2, SURVEY_KEPT);
	expect(&survey, 1, 2, 3, SURVEY_OWN);
	expect(&survey, 2, 7, 9, SURVEY_OWN);
	expect(&survey, 3, 9, 10, SURVEY_GUARD);
	expect(&survey, 4, 10, 11, SURVEY_KEPT);
	assert_int_equal(survey.n, 5);
	survey_free(&survey);

	/* Where nothing is tracked the same words mean that all is read. */
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_UNTRACKED),
			 R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), 0);
	assert_int_equal(survey_bytes(&survey, SURVEY_OWN), 6 * PAGE);
	survey_free(&survey);
	pagemap_close(&map);
}

/* More pages than are read at once, and more ranges than fit into one answer. */
static void keeps_many(void **state)
{
	size_t n = 10000;
	uint64_t *words = calloc(n, sizeof(*words));
	struct survey survey = { 0 };
	struct pagemap map;

	(void)state;
	assert_non_null(words);
	for (size_t i = 0; i < n; i++)
		words[i] = PRESENT | (i % 3 == 0 ? SOFT_DIRTY : 0);
	map = fake(BASE, words, n);
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_SOFT_DIRTY),
			 R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_OWN), (n + 2) / 3 * PAGE);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), (n - (n + 2) / 3) * PAGE);
	for (size_t i = 1; i < survey.n; i++) {
		assert_int_equal(survey.regions[i].start, survey.regions[i - 1].end);
		assert_int_not_equal(survey.regions[i].kind, survey.regions[i - 1].kind);
	}
	survey_free(&survey);
	pagemap_close(&map);
	free(words);
}

/* A kernel without the bits gives words that look clean: that is what the probe is there for. */
static void probe_tells(void **state)
{
	volatile char *page =
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t at = (uintptr_t)page;
	struct survey survey = { 0 };
	struct pagemap map;

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	if (!soft_dirty_works())
		skip();
	page[0] = 1;
	assert_int_equal(soft_dirty_clear(getpid()), R_OK);
	assert_int_equal(pagemap_open(getpid(), &map), R_OK);
	assert_int_equal(survey_range(&survey, &map, at, at + PAGE, SURVEY_SOFT_DIRTY), R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), PAGE);
	survey_free(&survey);
	page[0] = 2;
	assert_int_equal(survey_range(&survey, &map, at, at + PAGE, SURVEY_SOFT_DIRTY), R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_OWN), PAGE);
	survey_free(&survey);
	pagemap_close(&map);
	munmap((void *)page, PAGE);
}

/* What was protected ahead is read where it is still kept, and nowhere else. */
static void reads_what_was_written(void **state)
{
	const uint64_t words[] = { PRESENT, PRESENT, PRESENT, PRESENT, 0, PRESENT | SOFT_DIRTY,
				   PRESENT, PRESENT };
	size_t n = sizeof(words) / sizeof(words[0]);
	struct pagemap map = fake(BASE, words, n);
	struct survey survey = { 0 }, written = { 0 };

	(void)state;
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_SOFT_DIRTY),
			 R_OK);
	assert_int_equal(survey_read_too(&survey, &written), R_OK);
	expect(&survey, 0, 0, 4, SURVEY_KEPT);
	assert_int_equal(survey.n, 3);

	assert_int_equal(survey_add_own(&written, BASE + PAGE, BASE + 2 * PAGE), R_OK);
	/* Over something that is gone, what is read anyway, and the beginning of what is kept. */
	assert_int_equal(survey_add_own(&written, BASE + 3 * PAGE, BASE + 7 * PAGE), R_OK);
	assert_int_equal(survey_read_too(&survey, &written), R_OK);
	expect(&survey, 0, 0, 1, SURVEY_KEPT);
	expect(&survey, 1, 1, 2, SURVEY_OWN);
	expect(&survey, 2, 2, 3, SURVEY_KEPT);
	expect(&survey, 3, 3, 4, SURVEY_OWN);
	expect(&survey, 4, 5, 7, SURVEY_OWN);
	expect(&survey, 5, 7, 8, SURVEY_KEPT);
	assert_int_equal(survey.n, 6);
	survey_free(&survey);
	survey_free(&written);
	pagemap_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_clean_pages),
		cmocka_unit_test(keeps_many),
		cmocka_unit_test(probe_tells),
		cmocka_unit_test(reads_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
