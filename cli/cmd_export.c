#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"
#include "engine/exchange/exchange.h"

#include <stdio.h>
#include <string.h>

static int report(const struct options *options, const struct generation *gen, const char *path,
		  const struct export_result *result)
{
	if (options->json)
		return output_json(json_pack("{s:I, s:s, s:I, s:I}", "generation",
					     (json_int_t)gen->number, "path", path, "files",
					     (json_int_t)result->files, "bytes_sealed",
					     (json_int_t)result->bytes_sealed));
	if (strcmp(path, "-") != 0)
		printf("%s\n", path);
	if (result->files)
		note("%zu files of generation %llu", result->files,
		     (unsigned long long)gen->number);
	secrets_note(result->bytes_sealed, "not in it, and so zeroes after a restore of it");
	return EXIT_DONE;
}

int cmd_export(const struct options *options)
{
	const char *path = options->archive ? options->archive : options->operands[0];
	struct store_view *view;
	struct generation gen;
	struct store *store;
	struct export_options how = { .reveal = options->reveal_secrets };
	struct store_keys *keys = NULL;
	struct export_result done;
	int result;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = find_generation(options, view, &gen);
	if (result == R_OK)
		result = secrets_reveal(options, store, &keys);
	how.keys = keys;
	if (result == R_OK && options->archive)
		result = exchange_export_archive_path(view, &gen, path, &how, &done);
	else if (result == R_OK)
		result = exchange_export_path(view, &gen, path, &how, &done);
	store_keys_close(keys);
	close_reading(store, view);
	return result == R_OK ? report(options, &gen, path, &done) : exit_code_of(result);
}
