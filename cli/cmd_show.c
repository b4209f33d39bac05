#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/image_explore.h"
#include "cli/output.h"
#include "cli/show_tree.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct objects {
	json_t *array; /* NULL: printed as text */
	bool failed;
};

/* "pages-PID", but not "pages-shmem-ID". */
static bool is_address_space(const char *name)
{
	return !strncmp(name, "pages-", 6) && isdigit((unsigned char)name[6]);
}

static int one_object(const char *name, const struct object *object, void *arg)
{
	struct objects *o = arg;
	char text[WORDS_MAX];
	json_t *row;

	if (!o->array) {
		/* The length of an address space says where it ends, not how much is in it. */
		printf("  %-20s %s\n", name,
		       is_address_space(name) ? "memory" : words_bytes(text, object->length_bytes));
		return 0;
	}
	row = json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)object->length_bytes);
	if (!row || json_array_append_new(o->array, row) < 0)
		o->failed = true;
	return 0;
}

/* Contents of files in a generation: "file-HASH" are programs and libraries, "data-HASH" what is
 * put back. */
struct contents {
	uint64_t stored, stored_bytes, data, data_bytes;
};

static int count_contents(const char *name, const struct object *object, void *arg)
{
	struct contents *c = arg;

	if (!strncmp(name, "file-", 5)) {
		c->stored++;
		c->stored_bytes += object->length_bytes;
	} else if (!strncmp(name, "data-", 5)) {
		c->data++;
		c->data_bytes += object->length_bytes;
	}
	return 0;
}

static int print_contents(struct store_view *view, const struct generation *gen)
{
	char stored[WORDS_MAX], data[WORDS_MAX];
	struct contents c = { 0 };
	int result = store_object_each(view, gen->number, count_contents, &c);

	if (result == R_OK)
		printf("files       %llu programs and libraries (%s), %llu to be put back (%s), "
		       "before deduplication\n",
		       (unsigned long long)c.stored, words_bytes(stored, c.stored_bytes),
		       (unsigned long long)c.data, words_bytes(data, c.data_bytes));
	return result;
}

static int json_contents(struct store_view *view, const struct generation *gen, json_t *facts)
{
	struct contents c = { 0 };
	int result = store_object_each(view, gen->number, count_contents, &c);

	json_object_set_new(facts, "files_stored", json_integer((json_int_t)c.stored));
	json_object_set_new(facts, "bytes_files_stored", json_integer((json_int_t)c.stored_bytes));
	json_object_set_new(facts, "data_files", json_integer((json_int_t)c.data));
	json_object_set_new(facts, "bytes_data_files", json_integer((json_int_t)c.data_bytes));
	return result;
}

static void print_facts(const struct generation *gen)
{
	char a[WORDS_MAX], b[WORDS_MAX];

	printf("generation  %llu%s\n", (unsigned long long)gen->number,
	       gen->pinned ? ", pinned" : "");
	printf("lineage     %s\n", gen->lineage);
	printf("time        %s\n", words_time(a, gen->time_ns));
	printf("frozen      %s of %s\n", words_duration(a, gen->frozen_ns),
	       words_duration(b, gen->wall_ns));
	printf("pages       %llu looked at: %llu new, %llu known, %llu zero\n",
	       (unsigned long long)gen->pages_scanned, (unsigned long long)gen->pages_new,
	       (unsigned long long)gen->pages_shared, (unsigned long long)gen->pages_zero);
	printf("holds       %s, for which the take stored %s\n", words_bytes(a, gen->bytes_logical),
	       words_bytes(b, gen->bytes_stored));
	printf("  data      %s\n", words_bytes(a, gen->bytes_data));
	printf("  trees     %s\n", words_bytes(a, gen->bytes_trees));
	printf("  images    %s\n", words_bytes(a, gen->bytes_images));
	printf("  headers   %s\n", words_bytes(a, gen->bytes_headers));
	printf("  and       %s in the index\n", words_bytes(a, gen->bytes_index));
}

static json_t *json_facts(const struct generation *gen)
{
	json_t *facts = json_generation(gen);
	json_t *more = json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "frozen_ns", (json_int_t)gen->frozen_ns,
	    "wall_ns", (json_int_t)gen->wall_ns, "pages_scanned", (json_int_t)gen->pages_scanned,
	    "pages_new", (json_int_t)gen->pages_new, "pages_shared", (json_int_t)gen->pages_shared,
	    "pages_zero", (json_int_t)gen->pages_zero, "bytes_stored",
	    (json_int_t)gen->bytes_stored);

	if (facts)
		json_add_bytes(facts, gen);
	if (!facts || !more || json_object_update(facts, more) < 0) {
		json_decref(facts);
		facts = NULL;
	}
	json_decref(more);
	return facts;
}

/* The edits that led to this generation, the newest last; an empty list mostly.  R_OK, R_DAMAGED or
 * R_FAILED, reported. */
static int read_edits(struct store_view *view, const struct generation *gen, json_t **edits)
{
	const struct image_source source = { .dirfd = -1, .view = view, .gen = *gen };
	ProtobufCMessage **entries;
	size_t n;
	int result;

	result = read_entries(&source, IMAGE_SNAP_EDIT, "snap-edit", true, &entries, &n);
	if (result != R_OK)
		return result;
	*edits = json_array();
	for (size_t i = 0; i < n; i++) {
		const SnapEditEntry *edit = (const SnapEditEntry *)entries[i];

		json_array_append_new(*edits, json_pack("{s:I, s:s}", "edit_of",
							(json_int_t)edit->generation, "image",
							edit->object));
	}
	free_entries(entries, n);
	return R_OK;
}

static void print_edits(const json_t *edits)
{
	const json_t *last = json_array_get(edits, json_array_size(edits) - 1);

	if (last)
		printf("edited      %s of generation %lld\n",
		       json_string_value(json_object_get(last, "image")),
		       (long long)json_integer_value(json_object_get(last, "edit_of")));
}

static int show_json(struct store_view *view, const struct generation *gen, int *code)
{
	struct objects o = { .array = json_array() };
	json_t *facts, *tree = NULL, *edits = NULL;
	int result;

	result = tree_json(view, gen, &tree);
	if (result == R_OK)
		result = read_edits(view, gen, &edits);
	if (result == R_OK)
		result = store_object_each(view, gen->number, one_object, &o);
	if (result != R_OK)
		goto out;
	facts = json_facts(gen);
	result = json_contents(view, gen, facts);
	json_object_set(facts, "processes", tree);
	json_object_set(facts, "objects", o.array);
	if (json_array_size(edits) > 0)
		json_object_set(facts, "edits", edits);
	if (o.failed) {
		json_decref(facts);
		facts = NULL;
	}
	*code = output_json(facts);
out:
	json_decref(tree);
	json_decref(edits);
	json_decref(o.array);
	return result;
}

static int show_text(const struct options *options, struct store_view *view,
		     const struct generation *gen)
{
	struct objects o = { 0 };
	json_t *tree, *edits;
	int result;

	print_facts(gen);
	result = print_contents(view, gen);
	if (result != R_OK)
		return result;
	result = read_edits(view, gen, &edits);
	if (result != R_OK)
		return result;
	print_edits(edits);
	json_decref(edits);
	result = tree_json(view, gen, &tree);
	if (result != R_OK)
		return result;
	tree_print(tree);
	json_decref(tree);
	if (!options->verbose)
		return R_OK;
	printf("objects\n");
	return store_object_each(view, gen->number, one_object, &o);
}

int cmd_show(const struct options *options)
{
	struct generation gen;
	struct store_view *view;
	struct store *store;
	int result, code = EXIT_DONE;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	result = find_generation(options, view, &gen);
	if (result == R_OK)
		result =
		    options->json ? show_json(view, &gen, &code) : show_text(options, view, &gen);
	close_reading(store, view);
	return result == R_OK ? code : exit_code_of(result);
}
