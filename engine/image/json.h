/*
 * Images as JSON and back, in the form crit has made common (docs/images.md).  One walk over
 * protobuf-c's descriptors serves all messages; nothing here knows a particular one but the table
 * of forms and what follows entries as payload.
 *
 * What is decoded encodes to the same bytes.  Where the fields alone would not, an entry also has
 * its bytes as they are, under "raw_bytes".
 */
#ifndef SNAP_ENGINE_IMAGE_JSON_H
#define SNAP_ENGINE_IMAGE_JSON_H

#include "engine/image/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct image_json_options {
	bool pretty;	 /* numbers as addresses, flags, devices, names */
	bool no_payload; /* of payloads their size only: to look at, it cannot be encoded */
};

/* True if a file of this name ("DIR/pages-1.img") is raw: no image, its contents are one `extra`.
 */
bool image_json_is_raw(const char *name);

/*
 * The image of `len` bytes as a value, to be freed by the caller.  `name` is that of its file or
 * object; it is named in messages, and a raw file is known by it.  R_OK, R_DAMAGED (reported with
 * entry and byte; also what is no image), R_FAILED.
 */
int image_json_decode(const char *name, const void *data, size_t len,
		      const struct image_json_options *options, json_t **json);

/*
 * The bytes of the image a value describes, pretty or not, ours or crit's; to be freed by the
 * caller, after a failure too.  R_OK or R_FAILED, reported with the place in the value.
 */
int image_json_encode(const char *name, const json_t *json, struct wire_buffer *image);

/*
 * Text to a value and back.  JSON's numbers have no limit, jansson's integers end at INT64_MAX:
 * larger ones are read as strings, which encode alike, and printed from image_json_u64()'s values
 * as numbers again.  Printing follows python's json module, `pretty` with an indent of 4.
 * R_OK or R_FAILED, reported.
 */
int image_json_parse(const char *name, const char *text, size_t len, json_t **json);
int image_json_print(const json_t *json, bool pretty, FILE *file);

/* A number: an integer, or above INT64_MAX an object with a member "" that only image_json_print()
 * understands. */
json_t *image_json_u64(uint64_t value);

#endif
