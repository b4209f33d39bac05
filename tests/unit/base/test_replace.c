/* Small files replaced whole, and what writers that were killed leave behind. */
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void replaced(void **state)
{
	const struct folder *f = *state;
	struct stat st;
	char *text;
	size_t len;

	umask(077);
	assert_int_equal(io_replace_file(f->fd, "file", "old", 3, 0644), R_OK);
	assert_int_equal(fstatat(f->fd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(io_replace_file(f->fd, "file", "new and longer", 14, 0600), R_OK);
	assert_int_equal(io_read_file(f->fd, "file", 14, &text, &len), R_OK);
	assert_int_equal(len, 14);
	assert_string_equal(text, "new and longer");
	free(text);
	assert_int_equal(folder_count(f), 1);
}

static void not_replaced(void **state)
{
	const struct folder *f = *state;
	char name[400];
	struct stat st;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(io_replace_file(f->fd, name, "x", 1, 0600), R_FAILED);
	assert_int_equal(errno, ENAMETOOLONG);
	/* A folder of that name stays one, and no temporary file beside it. */
	assert_int_equal(mkdirat(f->fd, "file", 0700), 0);
	assert_int_equal(io_replace_file(f->fd, "file", "x", 1, 0600), R_FAILED);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(fstatat(f->fd, "file", &st, 0), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(folder_count(f), 1);
	assert_int_equal(unlinkat(f->fd, "file", AT_REMOVEDIR), 0);
}

static int make(const struct folder *f, const char *name)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "left", 4), 4);
	return fd;
}

static uint64_t bytes_of(const struct folder *f, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(f->fd, name, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void swept(void **state)
{
	static const char *const left[] = { ".file.123.tmp", ".a.b.1.tmp" };
	static const char *const others[] = { "file.1.tmp", ".file.tmp", ".file.1x.tmp",
					      ".file.1",    ".1.tmp",	 "..1.tmp" };
	const struct folder *f = *state;
	uint64_t bytes;
	int at_work;

	for (size_t i = 0; i < 2; i++)
		close(make(f, left[i]));
	for (size_t i = 0; i < 6; i++)
		close(make(f, others[i]));
	assert_int_equal(symlinkat("file.1.tmp", f->fd, ".link.1.tmp"), 0);
	assert_int_equal(mkdirat(f->fd, ".folder.1.tmp", 0700), 0);
	at_work = make(f, ".file.124.tmp");
	assert_int_equal(flock(at_work, LOCK_EX), 0);
	bytes = bytes_of(f, left[0]);
	assert_int_equal(io_sweep_temporaries(f->fd, "fi"), bytes);
	assert_int_equal(folder_count(f), 10);
	bytes = bytes_of(f, left[1]);
	assert_int_equal(io_sweep_temporaries(f->fd, ""), bytes);
	assert_int_equal(folder_count(f), 9);
	/* Its writer is gone by now. */
	close(at_work);
	assert_int_equal(io_sweep_temporaries(f->fd, "file"), bytes);
	assert_int_equal(io_sweep_temporaries(f->fd, ""), 0);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(unlinkat(f->fd, others[i], 0), 0);
	assert_int_equal(unlinkat(f->fd, ".link.1.tmp", 0), 0);
	assert_int_equal(unlinkat(f->fd, ".folder.1.tmp", AT_REMOVEDIR), 0);
	assert_int_equal(folder_count(f), 0);
}

#define REPLACINGS 2000
#define LONG_BYTES 5000

struct writer {
	const struct folder *f;
	char fill;
	size_t len;
	atomic_bool done;
	int failures;
};

static void *replace_often(void *arg)
{
	struct writer *w = arg;
	char data[LONG_BYTES];

	memset(data, w->fill, w->len);
	for (int i = 0; i < REPLACINGS; i++)
		w->failures +=
		    io_replace_file_for_now(w->f->fd, "file", data, w->len, 0600) != R_OK;
	atomic_store(&w->done, true);
	return NULL;
}

static void is_of_one(const struct writer *w)
{
	char *text;
	size_t len;

	if (io_read_file(w->f->fd, "file", LONG_BYTES, &text, &len) != R_OK) {
		assert_int_equal(errno, ENOENT);
		return;
	}
	assert_int_equal(len, text[0] == w[0].fill ? w[0].len : w[1].len);
	for (size_t i = 1; i < len; i++)
		assert_int_equal(text[i], text[0]);
	free(text);
}

/* Two writers of one pid, as two containers may have them, while what is left is swept. */
static void replaced_and_swept(void **state)
{
	struct writer writers[] = { { *state, 'a', LONG_BYTES, false, 0 },
				    { *state, 'b', 10, false, 0 } };
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, replace_often, &writers[i]), 0);
	while (!atomic_load(&writers[0].done) || !atomic_load(&writers[1].done)) {
		io_sweep_temporaries(writers[0].f->fd, "");
		is_of_one(writers);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(writers[i].failures, 0);
	}
	assert_int_equal(folder_count(*state), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaced, folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(not_replaced, folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(swept, folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(replaced_and_swept, folder_make, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
