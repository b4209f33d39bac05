/* Texts of /proc as kernels write them, and as nobody does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/result.h"
#include "engine/proc/maps.h"
#include "engine/proc/pagemap.h"

static const char good[] =
    "55d0c8a00000-55d0c8a02000 r-xp 00001000 fe:00 247134                     /usr/bin/a b\n"
    "Size:                  8 kB\n"
    "KernelPageSize:        4 kB\n"
    "ProtectionKey:         0\n"
    "VmFlags: rd ex mr mw me sd \n"
    "7f0000000000-7f0000200000 rw-s 00003000 00:01 1024                       /dev/zero "
    "(deleted)\n"
    "KernelPageSize:     2048 kB\n"
    "VmFlags: rd wr sh mr mw me ms lo dd hg gd \n"
    "7ffd1c2e0000-7ffd1c301000 rw-p 00000000 00:00 0                          [stack]\n"
    "VmFlags: rd wr mr mw me gd ac zz \n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    "VmFlags: ex \n";

static int parse(const char *text, size_t len, struct maps *maps)
{
	/* Exactly as long as it says, so that a sanitizer sees any step beyond. */
	char *copy = malloc(len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return maps_parse(copy, len, maps);
}

static void test_good(void **state)
{
	struct maps maps;

	(void)state;
	assert_int_equal(parse(good, strlen(good), &maps), R_OK);
	assert_int_equal(maps.n, 4);
	assert_int_equal(maps.vmas[0].start, 0x55d0c8a00000);
	assert_int_equal(maps.vmas[0].end, 0x55d0c8a02000);
	assert_int_equal(maps.vmas[0].offset, 0x1000);
	assert_int_equal(maps.vmas[0].prot, PROT_READ | PROT_EXEC);
	assert_int_equal(maps.vmas[0].dev_major, 0xfe);
	assert_int_equal(maps.vmas[0].ino, 247134);
	assert_int_equal(maps.vmas[0].page_kib, 4);
	assert_int_equal(maps.vmas[0].marks, VMA_MARK_MAYWRITE);
	assert_string_equal(maps.vmas[0].name, "/usr/bin/a b");
	assert_false(maps.vmas[0].shared);
	assert_false(maps.vmas[0].deleted);

	assert_true(maps.vmas[1].shared);
	assert_true(maps.vmas[1].deleted);
	assert_string_equal(maps.vmas[1].name, "/dev/zero");
	assert_int_equal(maps.vmas[1].page_kib, 2048);
	assert_int_equal(maps.vmas[1].marks, VMA_MARK_MAYWRITE | VMA_MARK_LOCKED |
						 VMA_MARK_DONTDUMP | VMA_MARK_HUGEPAGE |
						 VMA_MARK_GROWSDOWN);

	assert_true(maps.vmas[2].marks & VMA_MARK_UNKNOWN);
	assert_string_equal(maps.vmas[2].unknown, "zz");
	assert_int_equal(maps.vmas[3].start, 0xffffffffff600000);
	assert_int_equal(maps.vmas[3].prot, PROT_EXEC);
	maps_free(&maps);
}

static void test_plain_maps(void **state)
{
	static const char text[] = "1000-2000 ---p 00000000 00:00 0 \n";
	struct maps maps;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &maps), R_OK);
	assert_int_equal(maps.n, 1);
	assert_false(maps.vmas[0].has_flags);
	assert_string_equal(maps.vmas[0].name, "");
	maps_free(&maps);
	assert_int_equal(parse("", 0, &maps), R_OK);
	assert_int_equal(maps.n, 0);
	maps_free(&maps);
}

static void test_hostile(void **state)
{
	static const char *const bad[] = {
		"1000-2000 ---p 00000000 00:00 0",		      /* no end of line */
		"2000-1000 ---p 00000000 00:00 0 \n",		      /* runs backwards */
		"1000-1000 ---p 00000000 00:00 0 \n",		      /* empty */
		"1001-2000 ---p 00000000 00:00 0 \n",		      /* unaligned */
		"1000-2000 ---p 00000010 00:00 0 \n",		      /* unaligned offset */
		"1000-2000 --p 00000000 00:00 0 \n",		      /* too few letters */
		"1000-2000 ---q 00000000 00:00 0 \n",		      /* unknown letter */
		"1000-2000 ---p 00000000 0000 0 \n",		      /* no device */
		"1000-2000 ---p 00000000 00:00 \n",		      /* no inode */
		"1000-2000 ---p 00000000 00:00 0x\n",		      /* junk behind the inode */
		"1000-2000\n",					      /* short */
		"1000-20000000000000000000 ---p 00000000 00:00 0 \n", /* too large */
		"Size: 4 kB\n",					      /* detail of nothing */
		"1000-2000 ---p 00000000 00:00 0 \nnonsense\n",	      /* no colon */
		"1000-2000 ---p 00000000 00:00 0 \nVmFlags: rdd\n",   /* not two letters */
		"1000-2000 ---p 00000000 00:00 0 \nKernelPageSize: many\n",
		"1000-3000 ---p 00000000 00:00 0 \n2000-4000 ---p 00000000 00:00 0 \n",
		"3000-4000 ---p 00000000 00:00 0 \n1000-2000 ---p 00000000 00:00 0 \n",
	};
	static const char with_nul[] = "1000-2000 ---p 0\0000000 00:00 0 \n";
	struct maps maps;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], strlen(bad[i]), &maps), R_DAMAGED);
		assert_null(maps.vmas);
	}
	assert_int_equal(parse(with_nul, sizeof(with_nul) - 1, &maps), R_DAMAGED);
}

/* Every prefix and every single damaged byte: any answer will do, but there has to be one. */
static void test_mangled(void **state)
{
	size_t len = strlen(good);
	struct maps maps;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		if (parse(good, cut, &maps) == R_OK)
			maps_free(&maps);
	}
	for (size_t at = 0; at < len; at++) {
		for (int byte = 0; byte < 256; byte += 13) {
			char *copy = strdup(good);

			copy[at] = (char)byte;
			if (maps_parse(copy, len, &maps) == R_OK)
				maps_free(&maps);
		}
	}
}

static void test_own(void **state)
{
	struct maps maps;
	char here = 0;
	bool found = false;

	(void)state;
	assert_int_equal(maps_read(getpid(), &maps), R_OK);
	for (size_t i = 0; i < maps.n; i++) {
		assert_true(maps.vmas[i].has_flags);
		assert_false(maps.vmas[i].marks & VMA_MARK_UNKNOWN);
		found |= (uintptr_t)&here >= maps.vmas[i].start &&
			 (uintptr_t)&here < maps.vmas[i].end &&
			 strcmp(maps.vmas[i].name, "[stack]") == 0;
	}
	assert_true(found);
	maps_free(&maps);
}

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)
#define GUARD (1ull << 58)

static void test_words(void **state)
{
	const uint64_t words[] = { PRESENT, SWAPPED,	     0,	      PRESENT | OF_FILE,
				   PRESENT, GUARD | SWAPPED, SWAPPED, 0 };
	struct page_range ranges[4];
	size_t n;

	(void)state;
	assert_int_equal(pagemap_words(PAGES_OWN, words, 8, 0x10000, ranges, 4, &n), 8);
	assert_int_equal(n, 3);
	assert_int_equal(ranges[0].start, 0x10000);
	assert_int_equal(ranges[0].end, 0x12000);
	assert_int_equal(ranges[1].start, 0x14000);
	assert_int_equal(ranges[1].end, 0x15000);
	assert_int_equal(ranges[2].start, 0x16000);
	/* Full: goes on where it stopped. */
	assert_int_equal(pagemap_words(PAGES_OWN, words, 8, 0x10000, ranges, 1, &n), 4);
	assert_int_equal(n, 1);
	assert_int_equal(pagemap_words(PAGES_GUARD, words, 8, 0x10000, ranges, 4, &n), 8);
	assert_int_equal(n, 1);
	assert_int_equal(ranges[0].start, 0x15000);
}

/* Asks in both ways about memory of our own and expects the pages that were written. */
static void ask_about(uint8_t *memory, size_t pages, bool no_scan, bool *own)
{
	struct pagemap map;
	uint64_t at = (uintptr_t)memory, end = at + pages * 4096;

	memset(own, 0, pages * sizeof(*own));
	assert_int_equal(pagemap_open(getpid(), &map), R_OK);
	map.no_scan = no_scan;
	while (at < end) {
		struct page_range ranges[2];
		size_t n;

		assert_int_equal(pagemap_next(&map, PAGES_OWN, &at, end, ranges, 2, &n), R_OK);
		for (size_t i = 0; i < n; i++)
			for (uint64_t p = ranges[i].start; p < ranges[i].end; p += 4096)
				own[(p - (uintptr_t)memory) / 4096] = true;
	}
	pagemap_close(&map);
}

static void test_living(void **state)
{
	enum { PAGES = 64 };
	bool own[PAGES];
	uint8_t *memory =
	    mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(madvise(memory, PAGES * 4096, MADV_NOHUGEPAGE), 0);
	for (size_t i = 0; i < PAGES; i += 3)
		memory[i * 4096] = 1;
	for (int no_scan = 0; no_scan < 2; no_scan++) {
		ask_about(memory, PAGES, no_scan, own);
		for (size_t i = 0; i < PAGES; i++)
			assert_int_equal(own[i], i % 3 == 0);
	}
	munmap(memory, PAGES * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	cmocka_unit_test(test_plain_maps),
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_mangled),
		cmocka_unit_test(test_own),	cmocka_unit_test(test_words),
		cmocka_unit_test(test_living),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
