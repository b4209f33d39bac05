#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "engine/exchange/exchange.h"

#include <stdio.h>

static int report(const struct options *options, const struct generation *gen, const char *path,
		  size_t files)
{
	if (options->json)
		return output_json(json_pack("{s:I, s:s, s:I}", "generation",
					     (json_int_t)gen->number, "path", path, "files",
					     (json_int_t)files));
	printf("%s\n", path);
	if (files)
		note("%zu files of generation %llu", files, (unsigned long long)gen->number);
	return EXIT_DONE;
}

int cmd_export(const struct options *options)
{
	const char *path = options->operands[0];
	struct store_view *view;
	struct generation gen;
	struct store *store;
	size_t files = 0;
	int result;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = find_generation(options, view, &gen);
	if (result == R_OK)
		result = exchange_export_path(view, &gen, path, &files);
	close_reading(store, view);
	return result == R_OK ? report(options, &gen, path, files) : exit_code_of(result);
}
