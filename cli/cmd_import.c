#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "engine/exchange/exchange.h"

#include <stdio.h>
#include <unistd.h>

struct importing {
	struct store *store;
	const char *path;
	struct import_options options;
	struct import_result result;
};

static int do_import(void *arg)
{
	struct importing *im = arg;

	return exchange_import_path(im->store, im->path, &im->options, &im->result);
}

static int report(const struct options *options, const struct import_result *result)
{
	const struct generation *gen = &result->gen;
	char a[WORDS_MAX], b[WORDS_MAX];
	json_t *object;

	if (options->json) {
		object = json_generation(gen);
		if (object) {
			json_object_set_new(object, "files",
					    json_integer((json_int_t)result->files));
			json_object_set_new(object, "directories",
					    json_integer((json_int_t)result->levels));
			json_add_bytes(object, gen);
		}
		return output_json(object);
	}
	printf("generation %llu\n", (unsigned long long)gen->number);
	note("%zu files and the memory of %zu director%s: %s, of which %s were new", result->files,
	     result->levels, result->levels == 1 ? "y" : "ies", words_bytes(a, gen->bytes_logical),
	     words_bytes(b, gen->bytes_stored));
	return EXIT_DONE;
}

int cmd_import(const struct options *options)
{
	struct importing im = { .path = options->operands[0] };
	int result, code;

	/* A mistyped path must not leave a new store behind. */
	if (access(im.path, F_OK) != 0) {
		warn_errno("%s", im.path);
		return EXIT_NOT_FOUND;
	}
	result = open_to_write(options, true, &im.store);
	if (result != R_OK)
		return exit_code_of(result);
	im.options.lineage = options->names[0];
	im.options.progress = bar_begin(options);
	result = with_wait(options, do_import, &im);
	bar_end();
	code = result == R_OK ? report(options, &im.result) : exit_code_of(result);
	store_close(im.store);
	return code;
}
