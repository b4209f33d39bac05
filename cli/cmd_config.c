#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/config.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>

static json_t *json_of(const char *lineage, const struct config *config)
{
	static const char *const cookies[] = { "build-id", "stat", "build-id", "sampled", "full" };
	json_t *paths = json_array();

	for (size_t i = 0; i < config->n_paths; i++) {
		json_t *path = json_string(config->paths[i]);

		json_array_append_new(paths, path ? path : json_string("?"));
	}
	return json_pack("{s:s, s:b, s:o, s:s, s:b}", "lineage", lineage, "with_files",
			 config->with_files, "with_path", paths, "cookie", cookies[config->cookie],
			 "stored", !config->no_stored);
}

static void print(const struct config *config)
{
	static const char *const cookies[] = { "build-id", "stat", "build-id", "sampled", "full" };

	printf("with-files = %s\n", config->with_files ? "on" : "off");
	for (size_t i = 0; i < config->n_paths; i++)
		printf("with-path = %s\n", config->paths[i]);
	printf("cookie = %s\n", cookies[config->cookie]);
	printf("stored = %s\n", config->no_stored ? "off" : "on");
}

int cmd_config(const struct options *options)
{
	const char *lineage = options->names[0];
	struct config config;
	struct store *store;
	int result, code = EXIT_DONE;

	/* So that there is a store to keep it in, and it is one. */
	result = options->n_operands ? open_to_write(options, true, &store) : R_OK;
	if (result != R_OK)
		return exit_code_of(result);
	if (options->n_operands)
		store_close(store);
	result = config_load(options->store_dir, lineage, &config);
	if (result == R_OK)
		result = config_change(&config, options->operands, options->n_operands);
	if (result == R_OK && options->n_operands)
		result = config_save(options->store_dir, lineage, &config);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		code = output_json(json_of(lineage, &config));
	else if (!options->quiet)
		print(&config);
	config_free(&config);
	return code;
}
