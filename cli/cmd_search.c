/* snap search: patterns in the memory and files of generations. */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/tree_text.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"
#include "engine/look/search.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT 1000
#define SHOWN_MAX 64 /* bytes of a match that are kept to be shown */

struct numbers {
	const struct options *options;
	uint64_t *list;
	size_t n, room;
};

static bool asked_for(const struct options *options, const struct generation *gen)
{
	if (options->name_count && strcmp(options->names[0], gen->lineage) != 0)
		return false;
	if (!options->generation_count)
		return true;
	for (size_t i = 0; i < options->generation_count; i++)
		if (options->generations[i].first <= gen->number &&
		    gen->number <= options->generations[i].last)
			return true;
	return false;
}

static int add_generation(const struct generation *gen, void *arg)
{
	struct numbers *numbers = arg;

	if (!asked_for(numbers->options, gen))
		return 0;
	if (numbers->n == numbers->room) {
		size_t room = numbers->room ? 2 * numbers->room : 64;
		uint64_t *more = reallocarray(numbers->list, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		numbers->list = more;
		numbers->room = room;
	}
	numbers->list[numbers->n++] = gen->number;
	return 0;
}

static enum matcher_kind kind_of(const struct options *o)
{
	return o->regex ? MATCH_REGEX : o->hex ? MATCH_HEX : MATCH_STRING;
}

static const char *pattern_of(const struct options *o)
{
	return o->regex ? o->regex : o->hex ? o->hex : o->string;
}

static void print_shown(const struct look_match *match, bool hex)
{
	for (size_t i = 0; i < match->n_shown; i++) {
		uint8_t c = match->shown[i];

		if (hex)
			printf("%02x", c);
		else if (c < 127 && isprint(c) && c != '\\')
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	if (match->bytes > match->n_shown)
		printf("... (%llu bytes)", (unsigned long long)match->bytes);
}

/* "3" or "3-7,9": runs of numbers. */
static void print_generations(const struct look_match *match)
{
	for (size_t i = 0, next; i < match->n_generations; i = next) {
		for (next = i + 1; next < match->n_generations; next++)
			if (match->generations[next] != match->generations[next - 1] + 1)
				break;
		printf("%s%llu", i ? "," : "", (unsigned long long)match->generations[i]);
		if (next > i + 1)
			printf("-%llu", (unsigned long long)match->generations[next - 1]);
	}
}

struct telling {
	const struct options *options;
	json_t *rows; /* NULL: printed as text */
};

static void print_match(const struct look_match *match, const struct options *options)
{
	printf("%s ", match->lineage);
	if (match->pid)
		printf("pid %u 0x%llx", match->pid, (unsigned long long)match->address);
	else
		printf("object %s offset 0x%llx", match->object,
		       (unsigned long long)match->address);
	if (*match->mapping) {
		putchar(' ');
		tree_text_string(match->mapping);
	}
	printf(": ");
	print_shown(match, options->hex != NULL);
	printf("  (generation%s ", match->n_generations == 1 ? "" : "s");
	print_generations(match);
	printf(")\n");
}

static json_t *json_match(const struct look_match *match)
{
	json_t *numbers = json_array(), *row;
	char hex[2 * SHOWN_MAX + 1];

	for (size_t i = 0; i < match->n_generations; i++)
		json_array_append_new(numbers, json_integer((json_int_t)match->generations[i]));
	for (size_t i = 0; i < match->n_shown; i++)
		snprintf(hex + 2 * i, 3, "%02x", match->shown[i]);
	hex[2 * match->n_shown] = '\0';
	row = json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:o}", "lineage", match->lineage,
			"object", match->object, match->pid ? "address" : "offset",
			(json_int_t)match->address, "bytes", (json_int_t)match->bytes, "hex", hex,
			"first_seen", (json_int_t)match->generations[0], "last_seen",
			(json_int_t)match->generations[match->n_generations - 1], "generations",
			numbers);
	if (row && match->pid)
		json_object_set_new(row, "pid", json_integer(match->pid));
	if (row && (match->pid || *match->mapping))
		json_object_set_new(row, match->pid ? "mapping" : "path",
				    describe_text(match->mapping, strlen(match->mapping)));
	/* Only what is text. */
	if (row)
		json_object_set_new(row, "text",
				    json_stringn((const char *)match->shown, match->n_shown)
					?: json_null());
	return row;
}

static int tell(const struct look_match *match, void *arg)
{
	const struct telling *telling = arg;

	bar_end();
	if (!telling->rows) {
		print_match(match, telling->options);
		return R_OK;
	}
	if (json_array_append_new(telling->rows, json_match(match)) == 0)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

static int finish(const struct telling *telling, size_t generations,
		  const struct look_search_result *found)
{
	if (found->ended)
		note("that is found so often that the search was ended early: look for something "
		     "longer, or in fewer generations");
	else if (found->limited)
		note("there are more places; ask for more with --limit, or for fewer generations");
	if (telling->rows)
		return output_json(json_pack(
		    "{s:O, s:I, s:I, s:b, s:I, s:I, s:I, s:I}", "matches", telling->rows, "places",
		    (json_int_t)found->places, "generations", (json_int_t)generations, "limited",
		    found->limited, "pages_read", (json_int_t)found->pages_read, "pages_known",
		    (json_int_t)found->pages_known, "pages_damaged",
		    (json_int_t)found->pages_damaged, "bytes_sealed",
		    (json_int_t)found->bytes_sealed));
	note("%llu place%s in %zu generation%s; %llu pages read, %llu more known from others",
	     (unsigned long long)found->places, found->places == 1 ? "" : "s", generations,
	     generations == 1 ? "" : "s", (unsigned long long)found->pages_read,
	     (unsigned long long)found->pages_known);
	secrets_note(found->bytes_sealed, "not searched");
	return EXIT_DONE;
}

static int search(const struct options *options, struct store_view *view,
		  const struct store_keys *keys, struct matcher *matcher, int *code)
{
	struct numbers numbers = { .options = options };
	struct telling telling = { options, options->json ? json_array() : NULL };
	struct look_search_options what = { .matcher = matcher,
					    .limit =
						options->limit ? options->limit : DEFAULT_LIMIT,
					    .reveal = options->reveal_secrets,
					    .keys = keys };
	struct look_search_result found;
	int result = store_generation_each(view, add_generation, &numbers);

	if (result == R_OK && !numbers.n) {
		warn("there is no such generation in %s; see snap ls", options->store_dir);
		result = R_NOT_FOUND;
	}
	if (result == R_OK) {
		what.generations = numbers.list;
		what.n_generations = numbers.n;
		what.progress = bar_begin(options);
		result = look_search(view, &what, tell, &telling, &found);
		bar_end();
	}
	/* What is whole was searched all the same. */
	if (result == R_OK || (result == R_DAMAGED && what.n_generations))
		*code = finish(&telling, numbers.n, &found);
	json_decref(telling.rows);
	free(numbers.list);
	return result;
}

int cmd_search(const struct options *options)
{
	struct matcher *matcher;
	struct store_keys *keys = NULL;
	struct store_view *view;
	struct store *store;
	int result, code = EXIT_DONE;

	if (matcher_new(kind_of(options), pattern_of(options), options->ignore_case, &matcher) !=
	    R_OK)
		return EXIT_USAGE;
	result = open_to_read(options, &store, &view);
	if (result == R_OK) {
		result = secrets_reveal(options, store, &keys);
		if (result == R_OK)
			result = search(options, view, keys, matcher, &code);
		store_keys_close(keys);
		close_reading(store, view);
	}
	matcher_free(matcher);
	return result == R_OK ? code : exit_code_of(result);
}
