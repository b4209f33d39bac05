/* snap image edit: an image of a generation changed, as a new generation. */
#include "cli/commands.h"

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/image_source.h"
#include "cli/output.h"
#include "engine/engine.h"
#include "engine/image/json.h"
#include "engine/image/scan.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct editing {
	const struct options *options;
	const char *name; /* of the image */
	struct store *store;
	struct store_view *view;
	struct generation of;
	void *old;
	size_t old_len;
	struct wire_buffer image; /* what it is to be */
};

static int load_old(struct editing *e)
{
	const struct image_source source = { -1, NULL, e->store, e->view, e->of };
	int result;

	if (image_is_contents(e->name) ||
	    image_kind_by_name(e->name) == image_kind(IMAGE_SNAP_EDIT)) {
		warn("%s is no image that can be edited; snap image info --gen %llu --list names "
		     "those there are",
		     e->name, (unsigned long long)e->of.number);
		return R_NOT_FOUND;
	}
	result = image_source_load(&source, e->name, &e->old, &e->old_len);
	if (result == R_NOT_FOUND)
		warn("generation %llu has no image %s", (unsigned long long)e->of.number, e->name);
	return result;
}

/* The shell splits $EDITOR, as everybody's does; the file comes as an argument of its own. */
static int run_editor(const char *path)
{
	const char *editor = getenv("VISUAL");
	char command[4096];
	void (*was_int)(int), (*was_quit)(int);
	int status = 0;
	pid_t pid, got;

	if (!editor || !*editor)
		editor = getenv("EDITOR");
	if (!editor || !*editor)
		editor = "vi";
	if (snprintf(command, sizeof(command), "%s \"$1\"", editor) >= (int)sizeof(command)) {
		warn("$EDITOR is too long");
		return R_FAILED;
	}
	/* ^C in the editor is the editor's, and must not leave the file behind. */
	was_int = signal(SIGINT, SIG_IGN);
	was_quit = signal(SIGQUIT, SIG_IGN);
	pid = fork();
	if (pid == 0) {
		signal(SIGINT, was_int);
		signal(SIGQUIT, was_quit);
		execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
		_exit(127);
	}
	got = pid < 0 ? -1 : waitpid(pid, &status, 0);
	signal(SIGINT, was_int);
	signal(SIGQUIT, was_quit);
	if (got != pid || pid < 0) {
		warn_errno("cannot run %s", editor);
		return R_FAILED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return R_OK;
	warn("%s did not end well; nothing was changed", editor);
	return R_FAILED;
}

static int write_json(const struct editing *e, int fd)
{
	const struct image_json_options how = { .pretty = true };
	FILE *file = fdopen(fd, "w");
	json_t *json = NULL;
	int result;

	result = image_json_decode(e->name, e->old, e->old_len, &how, &json);
	if (result == R_OK && file)
		result = image_json_print(json, true, file);
	json_decref(json);
	if (file ? fputc('\n', file) == EOF || fclose(file) != 0 : close(fd) == 0)
		result = R_FAILED;
	return result;
}

/* Memory of a process may be in there: a folder and a file of nobody else's. */
static int edit_by_hand(const struct editing *e, void **text, size_t *len)
{
	const char *base = getenv("TMPDIR");
	char dir[3000], path[4000];
	int fd, result;

	snprintf(dir, sizeof(dir), "%s/snap-edit.XXXXXX", base && *base == '/' ? base : "/tmp");
	if (!mkdtemp(dir)) {
		warn_errno("cannot make the folder %s", dir);
		return R_FAILED;
	}
	snprintf(path, sizeof(path), "%s/%s.json", dir, e->name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	result = fd < 0 ? R_FAILED : write_json(e, fd);
	if (fd < 0)
		warn_errno("cannot make %s", path);
	if (result == R_OK)
		result = run_editor(path);
	if (result == R_OK)
		result = image_read_file(path, text, len);
	unlink(path);
	if (rmdir(dir) < 0)
		warn_errno("cannot remove the folder %s", dir);
	return result;
}

/* The image that is to take the place of the old one, and must be of the same kind. */
static int make_new(struct editing *e)
{
	const char *from = e->options->input ? e->options->input : e->name;
	struct image_scan was, is;
	json_t *json = NULL;
	void *text = NULL;
	size_t len;
	int result;

	result = e->options->input ? image_read_file(e->options->input, &text, &len)
				   : edit_by_hand(e, &text, &len);
	if (result == R_OK)
		result = image_json_parse(from, text, len, &json);
	if (result == R_OK)
		result = image_json_encode(from, json, &e->image);
	if (result == R_OK && (image_scan_open(&was, e->name, e->old, e->old_len) != R_OK ||
			       image_scan_open(&is, from, e->image.data, e->image.len) != R_OK ||
			       was.kind->magic != is.kind->magic || was.old_head != is.old_head)) {
		warn("%s: is no image of kind %s, as %s is", from, image_kind_by_name(e->name)->tag,
		     e->name);
		result = R_FAILED;
	}
	json_decref(json);
	free(text);
	return result;
}

static int print_made(const struct editing *e, const struct generation *made)
{
	if (e->options->json)
		return output_json(json_pack(
		    "{s:I, s:s, s:s, s:I}", "generation", (json_int_t)made->number, "lineage",
		    made->lineage, "image", e->name, "edit_of", (json_int_t)e->of.number));
	if (!e->options->quiet)
		printf("generation %llu\n", (unsigned long long)made->number);
	return EXIT_DONE;
}

static int edit(struct editing *e)
{
	const char *lineage;
	struct generation made;
	int result;

	result = store_generation(e->view, options_generation(e->options), &e->of);
	if (result == R_NOT_FOUND)
		warn("there is no generation %llu in %s; see snap ls",
		     (unsigned long long)options_generation(e->options), e->options->store_dir);
	if (result == R_OK)
		result = load_old(e);
	if (result == R_OK)
		result = make_new(e);
	if (result != R_OK)
		return exit_code_of(result);
	if (e->image.len == e->old_len && memcmp(e->image.data, e->old, e->old_len) == 0) {
		warn("%s is as it was: no generation was made", e->name);
		return EXIT_FAILED;
	}
	lineage = e->options->name_count ? e->options->names[0] : e->of.lineage;
	result = engine_edit(e->store, e->view, &e->of, e->name, e->image.data, e->image.len,
			     lineage, &made);
	return result == R_OK ? print_made(e, &made) : exit_code_of(result);
}

int cmd_image_edit(const struct options *options)
{
	struct editing e = { .options = options, .name = options->operands[0] };
	int result, code;

	result = open_to_write(options, false, &e.store);
	if (result != R_OK)
		return exit_code_of(result);
	result = store_view_open(e.store, &e.view);
	code = result == R_OK ? edit(&e) : exit_code_of(result);
	if (result == R_OK)
		store_view_close(e.view);
	store_close(e.store);
	wire_buffer_free(&e.image);
	free(e.old);
	return code;
}
