/* A file system that has no locks, or loses them: that is said, and nothing is left. */
#include "scratch.h"

#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cmocka.h>

static mode_t refused; /* of which kind of file: S_IFREG, S_IFDIR; 0: none */

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (refused && (st.st_mode & S_IFMT) == refused) {
		errno = ENOLCK;
		return -1;
	}
	return __real_flock(fd, operation);
}

static void remember(const char *line, void *arg)
{
	char *said = arg;

	snprintf(said + strlen(said), 1024 - strlen(said), "%s", line);
}

static void assert_said(const char *said)
{
	assert_non_null(strstr(said, "flock(2)"));
	assert_non_null(strstr(said, strerror(ENOLCK)));
}

static void none_at_all(void **state)
{
	struct store *store = NULL;
	char said[1024] = "";
	int result;

	refused = S_IFDIR;
	warn_set_hook(remember, said);
	result = store_open(*state, true, true, &store);
	warn_set_hook(NULL, NULL);
	refused = 0;
	assert_int_equal(result, R_FAILED);
	assert_said(said);
	store_close(scratch_open(*state));
}

static void none_for_packs(void **state)
{
	struct store *store = scratch_open(*state);
	struct generation gen;
	char said[1024] = "";
	size_t before;
	int result;

	assert_int_equal(scratch_take(store, "a", 1, 100, &gen), R_OK);
	before = scratch_count_packs(*state);
	refused = S_IFREG;
	warn_set_hook(remember, said);
	result = scratch_take(store, "a", 2, 100, &gen);
	warn_set_hook(NULL, NULL);
	refused = 0;
	assert_int_equal(result, R_FAILED);
	assert_said(said);
	assert_int_equal(scratch_count_packs(*state), before);
	assert_int_equal(scratch_take(store, "a", 2, 100, &gen), R_OK);
	scratch_verify_whole(store, 2);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(none_at_all, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(none_for_packs, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
