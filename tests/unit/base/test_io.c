/* Small files read whole, reads and writes at offsets, and what errors leave behind. */
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Lengths about the size of the first buffer and its double. */
static void read_whole(void **state)
{
	static const size_t lengths[] = { 0, 1, 4095, 4096, 4097, 8192, 100000 };
	const struct folder *f = *state;
	char *data = malloc(100000), *text;
	size_t len;

	for (size_t i = 0; i < 100000; i++)
		data[i] = (char)(i * 7 + i / 256);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t want = lengths[i];

		assert_int_equal(io_replace_file(f->fd, "file", data, want, 0600), R_OK);
		assert_int_equal(io_read_file(f->fd, "file", 100000, &text, &len), R_OK);
		assert_int_equal(len, want);
		assert_memory_equal(text, data, want);
		assert_int_equal(text[len], '\0');
		free(text);
		if (!want)
			continue;
		errno = 0;
		assert_int_equal(io_read_file(f->fd, "file", want - 1, &text, &len), R_FAILED);
		assert_int_equal(errno, EFBIG);
	}
	free(data);
	assert_int_equal(io_read_file(f->fd, "none", 10, &text, &len), R_FAILED);
	assert_int_equal(errno, ENOENT);
}

static void at_offsets(void **state)
{
	const struct folder *f = *state;
	int fd = openat(f->fd, "file", O_RDWR | O_CREAT, 0600);
	char back[8] = { 0 };

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, "0123456789", 10), R_OK);
	assert_int_equal(io_pwrite_all(fd, "abc", 3, 4), R_OK);
	assert_int_equal(io_pread_all(fd, back, 7, 3), R_OK);
	assert_string_equal(back, "3abc789");
	assert_int_equal(io_pread_all(fd, back, 8, 3), R_NOT_FOUND);
	close(fd);
	assert_int_equal(io_pread_all(fd, back, 1, 0), R_FAILED);
	assert_int_equal(errno, EBADF);
	/* One write to a file that is there; none is made. */
	assert_int_equal(io_write_file(f->fd, "file", "xyz", 3), R_OK);
	assert_int_equal(io_write_file(f->fd, "none", "xyz", 3), R_FAILED);
	assert_int_equal(errno, ENOENT);
}

static char said[3000];

static void hear(const char *line, void *arg)
{
	(*(int *)arg)++;
	snprintf(said, sizeof(said), "%s", line);
}

static void levels(void **state)
{
	char *word = malloc(5000);
	int lines = 0;

	(void)state;
	warn_set_hook(hear, &lines);
	note("a %s", "note");
	detail("not heard");
	assert_int_equal(lines, 1);
	assert_string_equal(said, "a note");
	warn_set_level(WARN_QUIET);
	note("not heard");
	errno = ENOENT;
	warn_errno("pid %d", 7);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(said, "pid 7: No such file or directory");
	assert_int_equal(lines, 2);
	warn_set_level(WARN_VERBOSE);
	detail("heard");
	assert_int_equal(lines, 3);
	memset(word, 'w', 4999);
	word[4999] = '\0';
	warn("%s", word);
	assert_int_equal(strlen(said), 2047);
	warn_set_level(WARN_NORMAL);
	warn_set_hook(NULL, NULL);
	free(word);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(read_whole, folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(at_offsets, folder_make, folder_remove),
		cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
