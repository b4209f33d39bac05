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
#define EXCLUSIVE (1ull << 56)
#define SOFT_DIRTY (1ull << 55)
#define CLEAN (PRESENT | EXCLUSIVE)

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
		CLEAN,				  /* clean */
		CLEAN,				  /* clean */
		CLEAN | SOFT_DIRTY,		  /* written */
		PRESENT,			  /* the zero page, or shared since a fork */
		0,				  /* nothing, or dropped since */
		SOFT_DIRTY,			  /* nothing, in a new range */
		PRESENT | FILE_PAGE,		  /* of the file, not the task's */
		PRESENT | FILE_PAGE | SOFT_DIRTY, /* likewise */
		SWAPPED,			  /* clean, but not in memory: read */
		SWAPPED | SOFT_DIRTY,
		GUARD,
		CLEAN,
	};
	size_t n = sizeof(words) / sizeof(words[0]);
	struct pagemap map = fake(BASE, words, n);
	struct survey survey = { 0 };

	(void)state;
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_SOFT_DIRTY),
			 R_OK);
	expect(&survey, 0, 0, 2, SURVEY_KEPT);
	expect(&survey, 1, 2, 4, SURVEY_OWN);
	expect(&survey, 2, 8, 10, SURVEY_OWN);
	expect(&survey, 3, 10, 11, SURVEY_GUARD);
	expect(&survey, 4, 11, 12, SURVEY_KEPT);
	assert_int_equal(survey.n, 5);
	survey_free(&survey);

	/* Where nothing is tracked the same words mean that all is read. */
	assert_int_equal(survey_range(&survey, &map, BASE, BASE + n * PAGE, SURVEY_UNTRACKED),
			 R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), 0);
	assert_int_equal(survey_bytes(&survey, SURVEY_OWN), 7 * PAGE);
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
		words[i] = CLEAN | (i % 3 == 0 ? SOFT_DIRTY : 0);
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

#define HUGE (2ull << 20)

static void read_all(const volatile char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += PAGE)
		assert_int_equal(bytes[i], 0);
}

/* A page that was only read is the shared zero page, small or huge, and no bit tells that it was
 * not there before, or was dropped: it is read.  What the kernel itself says of such pages. */
static void reads_the_zero_page(void **state)
{
	char *all =
	    mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *huge = (char *)(((uintptr_t)all + HUGE) & -HUGE), *small = huge + HUGE;
	uint64_t at = (uintptr_t)small;
	struct survey survey = { 0 };
	struct pagemap map;

	(void)state;
	assert_ptr_not_equal(all, MAP_FAILED);
	madvise(huge, HUGE, MADV_HUGEPAGE);
	madvise(small, HUGE, MADV_NOHUGEPAGE);
	memset(small, 1, 4 * PAGE);
	assert_int_equal(soft_dirty_clear(getpid()), R_OK);
	assert_int_equal(madvise(small + PAGE, PAGE, MADV_DONTNEED), 0);
	read_all(small + PAGE, PAGE);
	read_all(small + 4 * PAGE, PAGE);
	read_all(huge, HUGE);
	assert_int_equal(pagemap_open(getpid(), &map), R_OK);
	assert_int_equal(survey_range(&survey, &map, at, at + 8 * PAGE, SURVEY_SOFT_DIRTY), R_OK);
	assert_int_equal(survey.n, 4);
	assert_int_equal(survey.regions[1].start, at + PAGE);
	assert_int_equal(survey.regions[1].kind, SURVEY_OWN);
	assert_int_equal(survey.regions[3].start, at + 4 * PAGE);
	assert_int_equal(survey.regions[3].kind, SURVEY_OWN);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), 3 * PAGE);
	survey_free(&survey);
	at = (uintptr_t)huge;
	assert_int_equal(survey_range(&survey, &map, at, at + HUGE, SURVEY_SOFT_DIRTY), R_OK);
	assert_int_equal(survey_bytes(&survey, SURVEY_KEPT), 0);
	survey_free(&survey);
	pagemap_close(&map);
	munmap(all, 4 * HUGE);
}

/* What was protected ahead is read where it is still kept, and nowhere else. */
static void reads_what_was_written(void **state)
{
	const uint64_t words[] = {
		CLEAN, CLEAN, CLEAN, CLEAN, 0, CLEAN | SOFT_DIRTY, CLEAN, CLEAN
	};
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
		cmocka_unit_test(keeps_clean_pages),	  cmocka_unit_test(keeps_many),
		cmocka_unit_test(reads_the_zero_page),	  cmocka_unit_test(probe_tells),
		cmocka_unit_test(reads_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
