#include "cli/config.h"

#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/option_values.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "config"
#define BYTES_MAX (64u << 10)

static int set_switch(const char *key, const char *value, bool *on)
{
	unsigned which;

	if (value_word(key, "on|off", value, &which) != R_OK)
		return R_FAILED;
	*on = which == 1;
	return R_OK;
}

static void drop_paths(struct config *config)
{
	for (size_t i = 0; i < config->n_paths; i++)
		free(config->paths[i]);
	config->n_paths = 0;
}

static int add_path(struct config *config, const char *value)
{
	if (!*value) {
		drop_paths(config);
		return R_OK;
	}
	/* A timer's working folder is anybody's guess. */
	if (*value != '/' || strchr(value, '\n')) {
		warn("with-path: \"%s\" is not an absolute path", value);
		return R_FAILED;
	}
	for (size_t i = 0; i < config->n_paths; i++)
		if (!strcmp(config->paths[i], value))
			return R_OK;
	if (config->n_paths == WITH_PATHS_MAX) {
		warn("with-path: more than %d folders", WITH_PATHS_MAX);
		return R_FAILED;
	}
	config->paths[config->n_paths] = strdup(value);
	if (!config->paths[config->n_paths]) {
		warn("out of memory");
		return R_FAILED;
	}
	config->n_paths++;
	return R_OK;
}

static int set(struct config *config, const char *key, const char *value)
{
	bool stored;
	int result;

	if (!strcmp(key, "with-files"))
		return set_switch(key, value, &config->with_files);
	if (!strcmp(key, "stored")) {
		result = set_switch(key, value, &stored);
		config->no_stored = result == R_OK && !stored;
		return result;
	}
	if (!strcmp(key, "with-path"))
		return add_path(config, value);
	if (!strcmp(key, "cookie"))
		return value_word(key, COOKIE_WORDS, value, &config->cookie);
	warn("there is no setting \"%s\": with-files, with-path, cookie and stored are", key);
	return R_FAILED;
}

int config_change(struct config *config, char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *equals = strchr(words[i], '=');
		char key[32];

		if (!equals || (size_t)(equals - words[i]) >= sizeof(key)) {
			warn("\"%s\" is no setting such as with-files=on", words[i]);
			return R_FAILED;
		}
		snprintf(key, sizeof(key), "%.*s", (int)(equals - words[i]), words[i]);
		if (set(config, key, equals + 1) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

/* "key = value", blanks as one likes. */
static int read_line(struct config *config, char *line)
{
	char *equals, *end;

	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return R_OK;
	equals = strchr(line, '=');
	if (!equals) {
		warn("\"%s\" is no setting such as with-files = on", line);
		return R_FAILED;
	}
	*equals = '\0';
	for (end = equals; end > line && isblank((unsigned char)end[-1]);)
		*--end = '\0';
	for (end = equals + 1 + strlen(equals + 1);
	     end > equals + 1 && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	return set(config, line, equals + 1 + strspn(equals + 1, " \t"));
}

int config_load(const char *store_dir, const char *lineage, struct config *config)
{
	char *path, *text, *line, *save = NULL;
	int result, number = 1;
	size_t len;

	*config = (struct config){ 0 };
	if (asprintf(&path, "%s/" FOLDER "/%s", store_dir, lineage) < 0) {
		warn("out of memory");
		return R_FAILED;
	}
	result = io_read_file(AT_FDCWD, path, BYTES_MAX, &text, &len);
	if (result != R_OK) {
		if (errno == ENOENT || errno == ENOTDIR)
			result = R_OK;
		else
			warn_errno("cannot read %s", path);
		free(path);
		return result;
	}
	for (line = text; result == R_OK && line; line = save, number++) {
		save = strchr(line, '\n');
		if (save)
			*save++ = '\0';
		result = read_line(config, line);
	}
	if (result != R_OK) {
		warn("%s, line %d: correct it, or see snap config --help", path, number - 1);
		config_free(config);
	}
	free(text);
	free(path);
	return result;
}

static int write_text(const char *store_dir, const char *lineage, const char *text, size_t len)
{
	char *folder;
	int dir, result = R_FAILED;

	if (asprintf(&folder, "%s/" FOLDER, store_dir) < 0) {
		warn("out of memory");
		return R_FAILED;
	}
	if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
		warn_errno("cannot make %s", folder);
		free(folder);
		return R_FAILED;
	}
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		result = io_replace_file(dir, lineage, text, len, 0600);
	if (result != R_OK)
		warn_errno("cannot write %s/%s", folder, lineage);
	if (dir >= 0)
		close(dir);
	free(folder);
	return result;
}

int config_save(const char *store_dir, const char *lineage, const struct config *config)
{
	static const char *const cookies[] = { NULL, "stat", "build-id", "sampled", "full" };
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int result;

	if (!f) {
		warn("out of memory");
		return R_FAILED;
	}
	fprintf(f, "# snap take of this lineage; see snap config --help\n");
	fprintf(f, "with-files = %s\n", config->with_files ? "on" : "off");
	for (size_t i = 0; i < config->n_paths; i++)
		fprintf(f, "with-path = %s\n", config->paths[i]);
	if (config->cookie)
		fprintf(f, "cookie = %s\n", cookies[config->cookie]);
	if (config->no_stored)
		fprintf(f, "stored = off\n");
	if (fclose(f) != 0) {
		warn("out of memory");
		free(text);
		return R_FAILED;
	}
	result = write_text(store_dir, lineage, text, len);
	free(text);
	return result;
}

void config_free(struct config *config)
{
	drop_paths(config);
	*config = (struct config){ 0 };
}
