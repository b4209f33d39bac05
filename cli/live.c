#include "cli/live.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>

struct live_options live_options_of(const struct options *options, const char *images)
{
	return (struct live_options){ .lineage = options->names[0],
				      .images = images,
				      .work = options->work_dir,
				      .timeout_s = options->timeout_seconds };
}

int live_report(const struct options *options, const struct live_result *result)
{
	const struct generation *gen = &result->gen;
	char bytes[WORDS_MAX];
	json_t *object;

	if (options->json) {
		object = json_generation(gen);
		if (object) {
			json_object_set_new(
			    object, "generation",
			    json_integer((json_int_t)store_number_shown(gen->number)));
			json_object_set_new(object, "predump", json_boolean(gen->predump));
			json_object_set_new(object, "parent", json_boolean(result->parent));
			json_object_set_new(object, "files",
					    json_integer((json_int_t)result->files));
			json_object_set_new(object, "pages_scanned",
					    json_integer((json_int_t)gen->pages_scanned));
		}
		return output_json(object);
	}
	printf("%s %llu\n", gen->predump ? "pre-dump" : "generation",
	       (unsigned long long)store_number_shown(gen->number));
	note("%zu image%s, %s of memory and files%s", result->files, result->files == 1 ? "" : "s",
	     words_bytes(bytes, gen->bytes_logical),
	     result->parent ? ", part of which is as in the dump before" : "");
	return EXIT_DONE;
}
