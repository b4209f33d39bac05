/* Whole images: the magic word, then entries with what follows them. */
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/json_internal.h"

#include <stdio.h>
#include <string.h>

/* What stands for the magic word of a file that has none. */
#define TAG_RAW "RAW"

/* The object of a name, which may be that of a file: without folders and ".img". */
static void object_name(const char *name, char object[64])
{
	const char *slash = strrchr(name, '/');
	size_t len;

	snprintf(object, 64, "%s", slash ? slash + 1 : name);
	len = strlen(object);
	if (len > 4 && strcmp(object + len - 4, ".img") == 0)
		object[len - 4] = '\0';
}

static int no_memory(const char *name)
{
	warn("image %s: no memory for it; free some and try again", name);
	return R_FAILED;
}

/* Entries whose fields do not make the very bytes they were read from keep those bytes. */
static int keep_raw(const struct json_decoding *d, json_t *object)
{
	const struct json_place place = { NULL, d->scan->name, 0 };
	const struct image_part *part = d->part;
	struct wire_buffer again = { 0 };
	int result;

	result = json_encode_message(&place, part->type, object, 0, &again);
	if (again.failed)
		result = no_memory(d->scan->name);
	if (result == R_OK &&
	    (again.len != part->len || (part->len && memcmp(again.data, part->message, part->len))))
		result = json_object_set_new(object, JSON_RAW,
					     json_base64(part->message, part->len)) == 0
			     ? R_OK
			     : no_memory(d->scan->name);
	wire_buffer_free(&again);
	return result;
}

int json_decode_entry(const struct json_decoding *d, json_t **object)
{
	int result =
	    json_decode_message(d, d->part->type, d->part->message, d->part->len, false, 0, object);

	if (result == R_OK)
		result = keep_raw(d, *object);
	if (result == R_OK)
		return R_OK;
	json_decref(*object);
	*object = NULL;
	return result;
}

static int decode_entries(struct image_scan *scan, const struct image_json_options *options,
			  json_t *entries)
{
	struct image_part part;
	int result;

	while ((result = image_scan_next(scan, &part)) == R_OK) {
		const struct json_decoding d = { scan, &part, options->pretty };
		json_t *entry;

		result = json_decode_entry(&d, &entry);
		if (result != R_OK)
			return result;
		result = json_decode_payload(&d, options->no_payload, entry);
		if (result != R_OK) {
			json_decref(entry);
			return result;
		}
		if (json_array_append_new(entries, entry) < 0)
			return no_memory(scan->name);
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static int decode_raw(const char *name, const void *data, size_t len,
		      const struct image_json_options *options, json_t **json)
{
	const struct image_part part = { .has_payload = true,
					 .type = &ghost_file_entry__descriptor,
					 .payload = data,
					 .payload_len = len,
					 .padded_len = len };
	const struct image_scan scan = { .name = name, .kind = image_kind(IMAGE_GHOST_FILE) };
	const struct json_decoding d = { &scan, &part, options->pretty };
	json_t *entry = json_object();

	if (json_decode_payload(&d, options->no_payload, entry) != R_OK) {
		json_decref(entry);
		return R_FAILED;
	}
	*json = json_pack("{s:s, s:[o]}", "magic", TAG_RAW, "entries", entry);
	return *json ? R_OK : no_memory(name);
}

bool image_json_is_raw(const char *name)
{
	char object[64];

	object_name(name, object);
	return image_raw_by_name(object) != NULL;
}

int image_json_decode(const char *name, const void *data, size_t len,
		      const struct image_json_options *options, json_t **json)
{
	struct image_scan scan;
	json_t *entries;
	int result;

	if (image_json_is_raw(name))
		return decode_raw(name, data, len, options, json);
	result = image_scan_open(&scan, name, data, len);
	if (result == R_NOT_FOUND) {
		warn("image %s: does not begin as any image does; raw files, such as pages, are "
		     "known by their names (--as)",
		     name);
		return R_DAMAGED;
	}
	if (result != R_OK)
		return result;
	entries = json_array();
	*json = json_pack("{s:s, s:o}", "magic", scan.kind->tag, "entries", entries);
	if (!*json)
		return no_memory(name);
	result = decode_entries(&scan, options, entries);
	if (result == R_OK && scan.old_head &&
	    json_object_set_new(*json, "img_version", json_integer(1)) < 0)
		result = no_memory(name);
	if (result != R_OK) {
		json_decref(*json);
		*json = NULL;
	}
	return result;
}

/* The message as the fields say it, from bytes that may say it otherwise. */
static int canonical(const struct json_place *place, const ProtobufCMessageDescriptor *type,
		     const struct wire_buffer *raw, struct wire_buffer *message)
{
	const struct image_part part = { .type = type, .message = raw->data, .len = raw->len };
	const struct image_scan scan = { .name = JSON_RAW, .data = raw->data };
	const struct json_decoding d = { &scan, &part, false };
	json_t *object;
	int result;

	if (json_decode_message(&d, type, raw->data, raw->len, false, 0, &object) != R_OK)
		return json_wrong(place, "is no %s", type->name);
	result = json_encode_message(place, type, object, 0, message);
	json_decref(object);
	return result;
}

int json_encode_entry(const struct json_place *place, const ProtobufCMessageDescriptor *type,
		      const json_t *object, struct wire_buffer *message)
{
	const json_t *given = json_object_get(object, JSON_RAW);
	const struct json_place at = { place, JSON_RAW, 0 };
	struct wire_buffer raw = { 0 }, same = { 0 };
	int result;

	result = json_encode_message(place, type, object, 0, message);
	if (result != R_OK || !given)
		return result;
	result = json_base64_bytes(&at, given, &raw);
	if (result == R_OK)
		result = canonical(&at, type, &raw, &same);
	if (result == R_OK && (same.len != message->len ||
			       (same.len && memcmp(same.data, message->data, same.len) != 0)))
		result = json_wrong(&at,
				    "says something else than the fields: take out %s to have "
				    "the fields encoded",
				    JSON_RAW);
	message->len = 0;
	wire_put(message, raw.data, raw.len);
	message->failed |= raw.failed | same.failed;
	wire_buffer_free(&raw);
	wire_buffer_free(&same);
	return result;
}

static int encode_entries(const struct json_place *place, const struct image_kind *kind,
			  const json_t *entries, struct wire_buffer *image)
{
	const ProtobufCMessageDescriptor *type = image_first_type(kind);
	bool to_the_end = false;
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)entries, i, entry)
	{
		const struct json_place at = { place, NULL, i };
		struct wire_buffer message = { 0 };
		int result;

		if (to_the_end)
			return json_wrong(&at, "the contents of the entry before reach to the end");
		result = json_encode_entry(&at, type, entry, &message);
		if (result == R_OK) {
			wire_put_u32(image, (uint32_t)message.len);
			wire_put(image, message.data, message.len);
			result = json_encode_payload(&at, kind, type, message.data, message.len,
						     entry, image);
			to_the_end =
			    image_payload_of(kind, type, message.data, message.len).extent ==
			    IMAGE_EXTENT_REST;
			type = image_type_after(type, kind, message.data, message.len);
		}
		image->failed |= message.failed;
		wire_buffer_free(&message);
		if (result != R_OK)
			return result;
	}
	return R_OK;
}

static int encode_raw(const struct json_place *place, const json_t *entries,
		      struct wire_buffer *image)
{
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)entries, i, entry)
	{
		const struct json_place item = { place, NULL, i }, at = { &item, JSON_EXTRA, 0 };
		const json_t *extra = json_object_get(entry, JSON_EXTRA);
		const char *text = json_string_value(extra);

		if (text && strncmp(text, "... <", 5) == 0)
			return json_wrong(&at, "the contents were left out by --nopl");
		if (json_base64_bytes(&at, extra, image) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

/* What no image has at the top is refused, and what each has is found. */
static int check_top(const struct json_place *top, const json_t *json, bool *old_head)
{
	const struct json_place version = { top, "img_version", 0 };
	const json_t *given = json_object_get(json, "img_version");
	const char *key;
	const json_t *value;
	uint64_t n = 2;

	if (!json_is_object(json))
		return json_wrong(top, "should be an object with magic and entries");
	if (!json_is_string(json_object_get(json, "magic")) ||
	    !json_is_array(json_object_get(json, "entries")))
		return json_wrong(top, "should have magic, a name, and entries, a list");
	json_object_foreach((json_t *)json, key, value) if (
	    strcmp(key, "magic") != 0 && strcmp(key, "entries") != 0 &&
	    value != given) return json_wrong(top,
					      "\"%.60s\" is none of magic, entries, img_version",
					      key);
	if (given && json_encode_number(&version, given, false, &n) != R_OK)
		return R_FAILED;
	if (n != 1 && n != 2)
		return json_wrong(&version, "should be 1 or 2");
	*old_head = n == 1;
	return R_OK;
}

int image_json_encode(const char *name, const json_t *json, struct wire_buffer *image)
{
	const struct json_place top = { NULL, name, 0 }, place = { &top, "entries", 0 };
	const char *tag = json_string_value(json_object_get(json, "magic"));
	const json_t *entries = json_object_get(json, "entries");
	const struct image_kind *kind;
	bool old_head = false;
	int result;

	memset(image, 0, sizeof(*image));
	if (check_top(&top, json, &old_head) != R_OK)
		return R_FAILED;
	if (strcmp(tag, TAG_RAW) == 0) {
		result = encode_raw(&place, entries, image);
	} else {
		kind = image_kind_by_tag(tag);
		if (!kind)
			return json_wrong(&top, "magic: there is no kind of image \"%.60s\"", tag);
		if (kind->head && !old_head)
			wire_put_u32(image, kind->head);
		wire_put_u32(image, kind->magic);
		result = encode_entries(&place, kind, entries, image);
	}
	if (result == R_OK && image->failed)
		result = no_memory(name);
	return result;
}
