/* However memory runs out while JSON is made: it is whole, or the command fails and prints none. */
#include "cli/json_memory.h"

#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* By the linker's --wrap: the allocation of this number fails, counted from the watch on. */
static unsigned long fails, made;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);

void *__wrap_malloc(size_t bytes)
{
	return fails && ++made == fails ? NULL : __real_malloc(bytes);
}

static void keep_quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

/* As commands make it: nobody looks at what the single calls tell. */
static json_t *make(void)
{
	json_t *json = json_object(), *list = json_array();

	for (int i = 0; i < 10; i++) {
		json_t *one = json_object();

		json_object_set_new(one, "number", json_integer(i));
		json_object_set_new(one, "text", json_string("words"));
		json_array_append_new(list, one);
	}
	json_object_set_new(json, "list", list);
	json_object_set_new(json, "packed", json_pack("{s:i, s:s}", "a", 1, "b", "c"));
	return json;
}

static char *printed(int fd, char text[8192])
{
	ssize_t n = pread(fd, text, 8191, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* In a process of its own: what failed once is never forgotten. */
static int run(unsigned long number, int out)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		warn_set_hook(keep_quiet, NULL);
		if (dup2(out, STDOUT_FILENO) < 0)
			_exit(99);
		json_memory_watch();
		fails = number;
		_exit(output_finish(output_json(make())));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void whole_or_failed(void **state)
{
	char whole[8192], text[8192], path[] = "/tmp/snap-json.XXXXXX";
	int out = mkstemp(path), code = EXIT_FAILED;
	unsigned long number = 0;

	(void)state;
	assert_true(out >= 0 && unlink(path) == 0);
	assert_int_equal(run(0, out), EXIT_DONE);
	assert_non_null(strstr(printed(out, whole), "\"number\": 9"));
	while (code != EXIT_DONE) {
		assert_int_equal(ftruncate(out, 0), 0);
		assert_int_equal(lseek(out, 0, SEEK_SET), 0);
		code = run(++number, out);
		assert_true(code == EXIT_DONE || code == EXIT_FAILED);
		assert_true(number < 1000);
		/* Printing itself may end early, but it begins only with all there is. */
		if (code == EXIT_FAILED)
			assert_memory_equal(printed(out, text), whole, strlen(text));
	}
	assert_string_equal(printed(out, text), whole);
	assert_true(number > 50);
	close(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(whole_or_failed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
