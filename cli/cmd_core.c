#include "cli/commands.h"
#include "cli/looking.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int report(const struct options *options, const struct look *look,
		  const struct look_task *task, const char *path, int fd)
{
	char a[WORDS_MAX], b[WORDS_MAX];
	struct stat st;

	if (fstat(fd, &st) != 0)
		return EXIT_FAILED;
	if (options->json)
		return output_json(json_pack(
		    "{s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "generation",
		    (json_int_t)look->gen.number, "pid", (json_int_t)task->pid, "threads",
		    (json_int_t)task->n_threads, "file", path, "bytes", (json_int_t)st.st_size,
		    "bytes_on_disk", (json_int_t)st.st_blocks * 512, "bytes_sealed",
		    (json_int_t)look_sealed_bytes(look, task)));
	printf("%s\n", path);
	note("process %u of generation %llu: %zu thread%s, %s, %s of it on disk", task->pid,
	     (unsigned long long)look->gen.number, task->n_threads, task->n_threads == 1 ? "" : "s",
	     words_bytes(a, (uint64_t)st.st_size), words_bytes(b, (uint64_t)st.st_blocks * 512));
	secrets_note(look_sealed_bytes(look, task), "not in it");
	return EXIT_DONE;
}

int cmd_core(const struct options *options)
{
	const struct look_task *task;
	struct looking looking;
	const char *path = options->output;
	char named[64];
	int result, fd, code = EXIT_NOT_FOUND;

	result = looking_open(options, &looking);
	if (result != R_OK)
		return exit_code_of(result);
	task = looking_task(options, looking.look);
	if (!task)
		goto out;
	if (!path) {
		snprintf(named, sizeof(named), "core.%u", task->pid);
		path = named;
	}
	code = EXIT_FAILED;
	fd = looking_create(path);
	if (fd < 0)
		goto out;
	result = look_core(looking.look, task, options->file_contents, fd);
	if (result == R_OK)
		code = report(options, looking.look, task, path, fd);
	else
		code = exit_code_of(result);
	close(fd);
	/* Half a core would mislead. */
	if (result != R_OK)
		unlink(path);
out:
	looking_close(&looking);
	return code;
}
