#include "cli/commands.h"

#include "base/result.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>

static void print_stats(const char *dir, const struct store_stats *s)
{
	char text[WORDS_MAX];

	printf("store        %s\n", dir);
	printf("generations  %llu of %llu lineage%s\n", (unsigned long long)s->generations,
	       (unsigned long long)s->lineages, s->lineages == 1 ? "" : "s");
	printf("logical      %s in all generations together\n",
	       words_bytes(text, s->bytes_logical));
	printf("on disk      %s", words_bytes(text, s->bytes_packs + s->bytes_index));
	if (s->bytes_logical && s->bytes_packs + s->bytes_index)
		printf(", %.1f %% of that", 100.0 * (double)(s->bytes_packs + s->bytes_index) /
						(double)s->bytes_logical);
	printf("\n  packs      %s in %llu pack%s, %llu segments\n",
	       words_bytes(text, s->bytes_packs), (unsigned long long)s->packs,
	       s->packs == 1 ? "" : "s", (unsigned long long)s->segments);
	printf("  index      %s\n", words_bytes(text, s->bytes_index));
	printf("  condemned  %s that the next gc gives back\n",
	       words_bytes(text, s->bytes_condemned));
	printf("pages        %llu stored, each once\n", (unsigned long long)s->pages);
}

int cmd_stats(const struct options *options)
{
	struct store_view *view;
	struct store_stats s = { 0 };
	struct store *store;
	int result, code;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = store_stats(view, &s);
	close_reading(store, view);
	code = exit_code_of(result);
	if (result == R_OK && options->json)
		code = output_json(json_pack(
		    "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "store",
		    options->store_dir, "generations", (json_int_t)s.generations, "lineages",
		    (json_int_t)s.lineages, "packs", (json_int_t)s.packs, "segments",
		    (json_int_t)s.segments, "pages", (json_int_t)s.pages, "bytes_packs",
		    (json_int_t)s.bytes_packs, "bytes_index", (json_int_t)s.bytes_index,
		    "bytes_live", (json_int_t)s.bytes_live, "bytes_headers",
		    (json_int_t)s.bytes_headers, "bytes_condemned", (json_int_t)s.bytes_condemned,
		    "bytes_logical", (json_int_t)s.bytes_logical));
	else if (result == R_OK)
		print_stats(options->store_dir, &s);
	return code;
}
