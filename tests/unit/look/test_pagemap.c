/* Memory of CRIU's directories: both forms of pagemaps, chains of parents, and what is damaged. */
#include "engine/exchange/pagemap.h"

#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"
#include "store/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define IN_PARENT 1u
#define LAZY 2u
#define PRESENT 4u
#define OLD 0x100u /* as CRIU 3.x and 4.1 write it: no flags, the old count */

static char folder[] = "/tmp/snap-pagemap.XXXXXX", reported[512];

static void keep(const char *line, void *arg)
{
	(void)arg;
	snprintf(reported, sizeof(reported), "%s", line);
}

struct run {
	uint64_t index, n;
	uint32_t flags;
};

static void path_of(char path[256], unsigned int level, const char *file)
{
	snprintf(path, 256, "%s/%u/%s", folder, level, file);
}

static void write_file(unsigned int level, const char *file, const void *data, size_t len)
{
	char path[256];
	FILE *to;

	path_of(path, level, file);
	to = fopen(path, "we");
	assert_non_null(to);
	assert_int_equal(fwrite(data, 1, len, to), len);
	fclose(to);
}

static void write_map(unsigned int level, const struct run *runs, size_t n)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct image_writer w;

	image_writer_init(&w, IMAGE_PAGEMAP);
	head.pages_id = 1;
	image_add_head(&w, &head.base);
	for (size_t i = 0; i < n; i++) {
		PagemapEntry entry = PAGEMAP_ENTRY__INIT;
		bool old = runs[i].flags & OLD;

		entry.vaddr = runs[i].index * PAGE_BYTES;
		entry.compat_nr_pages = old ? (uint32_t)runs[i].n : 0;
		entry.has_nr_pages = entry.has_flags = !old;
		entry.nr_pages = runs[i].n;
		entry.flags = runs[i].flags;
		entry.has_in_parent = old && runs[i].flags & IN_PARENT;
		entry.in_parent = true;
		image_add(&w, &entry.base);
	}
	assert_int_equal(image_finish(&w), R_OK);
	write_file(level, "pagemap-1.img", w.data, w.len);
	image_writer_free(&w);
}

/* A directory with its pages: each is filled with its level and its place in the file. */
static void make_level(unsigned int level, const struct run *runs, size_t n, size_t pages)
{
	uint8_t *data = malloc(pages * PAGE_BYTES + 1);
	char path[256];

	path_of(path, level, "");
	mkdir(path, 0700);
	write_map(level, runs, n);
	assert_non_null(data);
	for (size_t i = 0; i < pages; i++)
		memset(data + i * PAGE_BYTES, (int)(16 * level + i), PAGE_BYTES);
	write_file(level, "pages-1.img", data, pages * PAGE_BYTES);
	free(data);
}

static void make_parent(unsigned int level, const char *to)
{
	char path[256];

	path_of(path, level, "parent");
	unlink(path);
	assert_int_equal(symlink(to, path), 0);
}

#define RUNS(...) \
	(const struct run[]){ __VA_ARGS__ }, \
	    sizeof((const struct run[]){ __VA_ARGS__ }) / sizeof(struct run)

struct seen {
	char text[256];
};

static int see(uint64_t index, const void *pages, size_t n, void *arg)
{
	struct seen *seen = arg;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *page = (const uint8_t *)pages + i * PAGE_BYTES;
		size_t at = strlen(seen->text);

		assert_int_equal(page[0], page[PAGE_BYTES - 1]);
		snprintf(seen->text + at, sizeof(seen->text) - at, "%llu:%02x ",
			 (unsigned long long)(index + i), page[0]);
	}
	return R_OK;
}

/* Reads the pages of level 0. */
static int read_all(struct seen *seen, size_t *levels)
{
	struct dump_source source = { .path = "dump" };
	struct dump_chain *chain;
	char path[256];
	int rc;

	path_of(path, 0, "");
	seen->text[0] = reported[0] = '\0';
	source.dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(source.dirfd >= 0);
	rc = dump_chain_open(&source, &chain);
	if (rc == R_OK) {
		*levels = dump_chain_levels(chain);
		rc = dump_pages_each(chain, "pagemap-1", see, seen);
		dump_chain_close(chain);
	}
	close(source.dirfd);
	return rc;
}

static int setup(void **state)
{
	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	warn_set_hook(keep, NULL);
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const files[] = { "pagemap-1.img", "pages-1.img", "parent" };
	char path[256];

	(void)state;
	for (unsigned int level = 0; level < 4; level++) {
		for (size_t i = 0; i < 3; i++) {
			path_of(path, level, files[i]);
			unlink(path);
		}
		path_of(path, level, "");
		rmdir(path);
	}
	warn_set_hook(NULL, NULL);
	return rmdir(folder);
}

static void both_forms(void **state)
{
	struct seen seen;
	size_t levels;

	(void)state;
	make_level(0, RUNS({ 5, 2, PRESENT }, { 9, 1, PRESENT | LAZY }), 3);
	assert_int_equal(read_all(&seen, &levels), R_OK);
	assert_string_equal(seen.text, "5:00 6:01 9:02 ");
	assert_int_equal(levels, 1);
	make_level(0, RUNS({ 5, 2, OLD }, { 9, 1, OLD }), 3);
	assert_int_equal(read_all(&seen, &levels), R_OK);
	assert_string_equal(seen.text, "5:00 6:01 9:02 ");
	/* A file that is longer than it has to be is no harm. */
	make_level(0, RUNS({ 5, 1, PRESENT }), 3);
	assert_int_equal(read_all(&seen, &levels), R_OK);
	assert_string_equal(seen.text, "5:00 ");
}

static void parents(void **state)
{
	struct seen seen;
	size_t levels;

	(void)state;
	make_level(2, RUNS({ 0, 8, PRESENT }), 8);
	make_level(1, RUNS({ 0, 2, OLD | IN_PARENT }, { 2, 2, OLD }, { 4, 4, OLD | IN_PARENT }), 2);
	make_level(0, RUNS({ 1, 5, IN_PARENT }, { 6, 1, PRESENT }), 1);
	make_parent(0, "../1");
	make_parent(1, "../2");
	assert_int_equal(read_all(&seen, &levels), R_OK);
	assert_string_equal(seen.text, "1:21 2:10 3:11 4:24 5:25 6:00 ");
	assert_int_equal(levels, 3);
	/* A page that no parent holds. */
	make_level(2, RUNS({ 0, 5, PRESENT }), 5);
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
	assert_non_null(strstr(reported, "0x5000"));
	make_parent(1, "../nowhere");
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
	assert_non_null(strstr(reported, "1/parent") ?: strstr(reported, "parent/parent"));
	make_parent(1, "../0");
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
	assert_non_null(strstr(reported, "lead back"));
}

static void refused(void **state)
{
	static const struct {
		struct run runs[2];
		size_t n;
		int result;
		const char *says;
	} bad[] = {
		{ { { 5, 2, PRESENT }, { 6, 1, PRESENT } }, 2, R_DAMAGED, "0x6000" },
		{ { { 5, 0, PRESENT } }, 1, R_DAMAGED, "no range" },
		{ { { 5, UINT64_MAX / PAGE_BYTES, PRESENT } }, 1, R_DAMAGED, "no range" },
		{ { { 5, INT64_MAX / PAGE_BYTES - 9, PRESENT } }, 1, R_DAMAGED, "holds" },
		{ { { 5, 1, LAZY } }, 1, R_DAMAGED, "nowhere" },
		{ { { 5, 1, PRESENT | 8 } }, 1, R_UNSUPPORTED, "later than 4.2" },
		{ { { 5, 1, IN_PARENT } }, 1, R_DAMAGED, "0x5000" },
		{ { { 5, 4, PRESENT } }, 1, R_DAMAGED, "holds 12288 bytes" },
	};
	struct seen seen;
	size_t levels;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_level(0, bad[i].runs, bad[i].n, 3);
		assert_int_equal(read_all(&seen, &levels), bad[i].result);
		assert_non_null(strstr(reported, bad[i].says));
		assert_string_equal(seen.text, "");
	}
	write_file(0, "pagemap-1.img", "", 0);
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
	make_level(0, RUNS({ 5, 1, PRESENT }), 1);
	write_file(0, "pagemap-1.img", "\x19\x43\x56\x54\x25\x40\x08\x56\xff\xff\xff\x7f", 12);
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
}

static void absent(void **state)
{
	struct seen seen;
	size_t levels;
	char path[256];

	(void)state;
	make_level(0, RUNS({ 5, 1, PRESENT }), 1);
	path_of(path, 0, "pages-1.img");
	unlink(path);
	assert_int_equal(read_all(&seen, &levels), R_DAMAGED);
	assert_non_null(strstr(reported, "pages-1.img"));
	path_of(path, 0, "pagemap-1.img");
	unlink(path);
	assert_int_equal(read_all(&seen, &levels), R_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_forms, setup, teardown),
		cmocka_unit_test_setup_teardown(parents, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(absent, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
