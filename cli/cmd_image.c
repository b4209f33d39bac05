/* snap image decode, encode, show, info: images as JSON and back. */
#include "cli/commands.h"

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/image_source.h"
#include "cli/json_memory.h"
#include "cli/output.h"
#include "engine/image/json.h"
#include "engine/image/scan.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes one of these commands is about, and what to call them. */
struct subject {
	char name[300];
	void *data;
	size_t len;
};

static int load_object(const struct options *options, const char *name, struct subject *subject)
{
	struct image_source source;
	int result;

	result = image_source_open(options, NULL, &source);
	if (result != R_OK)
		return result;
	if (image_is_contents(name)) {
		warn("%s is no image; snap image info --gen %llu --list names those there are",
		     name, (unsigned long long)source.gen.number);
		result = R_NOT_FOUND;
	} else {
		result = image_source_load(&source, name, &subject->data, &subject->len);
		if (result == R_NOT_FOUND)
			warn("generation %llu has no image %s; snap image info --gen %llu --list "
			     "names those it has",
			     (unsigned long long)source.gen.number, name,
			     (unsigned long long)source.gen.number);
	}
	snprintf(subject->name, sizeof(subject->name), "%s", name);
	image_source_close(&source);
	return result;
}

static int load(const struct options *options, struct subject *subject)
{
	const char *operand = options->n_operands ? options->operands[0] : NULL;
	const char *path = options->input ? options->input : operand;

	if (options->generation_count)
		return load_object(options, operand, subject);
	if (path && strcmp(path, "-") == 0)
		path = NULL;
	snprintf(subject->name, sizeof(subject->name), "%s",
		 options->called ? options->called
		 : path		 ? path
				 : "(standard input)");
	return image_read_file(path, &subject->data, &subject->len);
}

/* Nothing is opened for writing before there is something to write. */
static int write_out(const struct options *options, const void *data, size_t len)
{
	int fd = options->output
		     ? open(options->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
		     : STDOUT_FILENO;
	int result = fd < 0 ? R_FAILED : io_write_all(fd, data, len);

	if (fd >= 0 && options->output && close(fd) < 0)
		result = R_FAILED;
	if (result != R_OK)
		warn_errno("cannot write %s",
			   options->output ? options->output : "to standard output");
	return result;
}

static int print_json(const struct options *options, const json_t *json, bool pretty)
{
	char *text = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&text, &len);
	int result;

	if (!file) {
		warn("out of memory");
		return R_FAILED;
	}
	result = image_json_print(json, pretty, file);
	fputc('\n', file);
	if ((fclose(file) != 0 || json_memory_failed()) && result == R_OK) {
		warn("out of memory");
		result = R_FAILED;
	}
	if (result == R_OK)
		result = write_out(options, text, len);
	free(text);
	return result;
}

/* How many entries, or what the tag of a raw object is. */
static int describe(const char *name, const void *data, size_t len, const char **tag,
		    uint64_t *entries)
{
	struct image_scan scan;
	struct image_part part;
	int result;

	result = image_scan_open(&scan, name, data, len);
	if (result == R_NOT_FOUND) {
		warn("image %s: does not begin as any image does", name);
		return R_DAMAGED;
	}
	if (result != R_OK)
		return result;
	while ((result = image_scan_next(&scan, &part)) == R_OK)
		;
	*tag = scan.kind->tag;
	/* The head of a pagemap, and of a ghost in chunks, is none. */
	*entries = scan.entries -
		   (scan.entries > 0 && image_first_type(scan.kind) != scan.kind->message) -
		   (scan.next != scan.kind->message && scan.next != image_first_type(scan.kind));
	return result == R_NOT_FOUND ? R_OK : result;
}

struct listing {
	const struct image_source *source;
	json_t *rows; /* NULL: printed as text */
	int result;
};

static int list_one(const char *name, const struct object *object, void *arg)
{
	struct listing *l = arg;
	const char *tag = NULL;
	uint64_t entries = 0;
	json_t *row;
	void *data;
	size_t len;

	if (image_is_contents(name))
		return 0;
	l->result = image_source_load(l->source, name, &data, &len);
	if (l->result != R_OK)
		return l->result;
	l->result = describe(name, data, len, &tag, &entries);
	free(data);
	if (l->result != R_OK)
		return l->result;
	if (!l->rows) {
		printf("%-24s %-18s %8llu %10llu\n", name, tag, (unsigned long long)entries,
		       (unsigned long long)object->length_bytes);
		return 0;
	}
	row = json_pack("{s:s, s:s, s:I, s:I}", "name", name, "magic", tag, "count",
			(json_int_t)entries, "bytes", (json_int_t)object->length_bytes);
	return !row || json_array_append_new(l->rows, row) < 0 ? R_FAILED : 0;
}

static int list(const struct options *options)
{
	struct image_source source;
	struct listing l = { .source = &source };
	int result, code;

	result = image_source_open(options, NULL, &source);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		l.rows = json_array();
	else
		printf("%-24s %-18s %8s %10s\n", "IMAGE", "MAGIC", "ENTRIES", "BYTES");
	result = store_object_each(source.view, source.gen.number, list_one, &l);
	image_source_close(&source);
	code = exit_code_of(result);
	if (result == R_OK && l.rows)
		return output_json(l.rows);
	json_decref(l.rows);
	return code;
}

static int decode(const struct options *options, const struct image_json_options *how)
{
	struct subject subject = { .data = NULL };
	json_t *json = NULL;
	int result;

	if (options->list)
		return list(options);
	result = load(options, &subject);
	if (result == R_OK)
		result = image_json_decode(subject.name, subject.data, subject.len, how, &json);
	if (result == R_OK)
		result = print_json(options, json, how->pretty);
	json_decref(json);
	free(subject.data);
	return exit_code_of(result);
}

int cmd_image_decode(const struct options *options)
{
	const struct image_json_options how = { .pretty = options->pretty };

	return decode(options, &how);
}

int cmd_image_show(const struct options *options)
{
	const struct image_json_options how = { .pretty = true, .no_payload = options->no_payload };

	return decode(options, &how);
}

int cmd_image_encode(const struct options *options)
{
	struct subject subject = { .data = NULL };
	struct wire_buffer image = { 0 };
	json_t *json = NULL;
	int result;

	result = load(options, &subject);
	if (result == R_OK)
		result = image_json_parse(subject.name, subject.data, subject.len, &json);
	if (result == R_OK)
		result = image_json_encode(subject.name, json, &image);
	if (result == R_OK)
		result = write_out(options, image.data, image.len);
	wire_buffer_free(&image);
	json_decref(json);
	free(subject.data);
	return exit_code_of(result);
}

int cmd_image_info(const struct options *options)
{
	struct subject subject = { .data = NULL };
	uint64_t entries = 0;
	const char *tag;
	int result;

	if (options->list)
		return list(options);
	result = load(options, &subject);
	if (result == R_OK && !options->generation_count && image_json_is_raw(subject.name)) {
		tag = "RAW";
		entries = 1;
	} else if (result == R_OK) {
		result = describe(subject.name, subject.data, subject.len, &tag, &entries);
	}
	free(subject.data);
	if (result != R_OK)
		return exit_code_of(result);
	return output_json(json_pack("{s:s, s:I}", "magic", tag, "count", (json_int_t)entries));
}
