/* What follows entries, as "extra": bytes, and where crit has more structure, that. */
#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/json_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "... <4KB>", as crit says it. */
static json_t *size_words(size_t bytes)
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	double value = (double)bytes;
	char text[40];
	size_t i = 0;

	while (value >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		i++;
	}
	snprintf(text, sizeof(text),
		 value == (double)(uint64_t)value ? "... <%.0f%sB>" : "... <%.1f%sB>", value,
		 units[i]);
	return json_string(text);
}

/* Puts `value` into the object under `key`; NULL is memory that was not there. */
static int set(const struct json_decoding *d, json_t *object, const char *key, json_t *value)
{
	if (value && json_object_set_new(object, key, value) == 0)
		return R_OK;
	warn("image %s: no memory for it as JSON; free some and try again", d->scan->name);
	return R_FAILED;
}

/* What fills up to a multiple is zero, or else it is kept. */
static int decode_padding(const struct json_decoding *d, const struct image_part *part,
			  json_t *object)
{
	for (size_t i = part->payload_len; i < part->padded_len; i++)
		if (part->payload[i])
			return set(d, object, JSON_PADDING,
				   json_base64(part->payload + part->payload_len,
					       part->padded_len - part->payload_len));
	return R_OK;
}

static json_t *decode_queue(const struct json_decoding *d)
{
	json_t *list = json_array(), *object;
	struct image_part part;
	size_t at = 0;
	int result = list ? R_OK : R_FAILED;

	while (result == R_OK && image_scan_queued(d->scan, d->part, &at, &part) == R_OK) {
		struct json_decoding inner = { d->scan, &part, d->pretty };

		result = json_decode_entry(&inner, &object);
		if (result == R_OK &&
		    (decode_padding(d, &part, object) != R_OK ||
		     json_array_append_new(list, object) < 0 ||
		     json_array_append_new(list, json_base64(part.payload, part.payload_len)) < 0))
			result = R_FAILED;
	}
	if (result == R_OK)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *decode_semaphores(const struct image_part *part)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i + 1 < part->payload_len; i += 2)
		json_array_append_new(list, json_integer(get_le16(part->payload + i)));
	return list;
}

int json_decode_payload(const struct json_decoding *d, bool no_payload, json_t *entry)
{
	const struct image_part *part = d->part;
	struct image_payload rule;
	json_t *extra;

	if (!part->has_payload)
		return R_OK;
	rule = image_payload_of(d->scan->kind, part->type, part->message, part->len);
	if (no_payload)
		return set(d, entry, JSON_EXTRA, size_words(part->payload_len));
	if (part->type == &tcp_stream_entry__descriptor)
		extra = json_pack(
		    "{s:o, s:o}", "inq", json_base64(part->payload, rule.first), "outq",
		    json_base64(part->payload + rule.first, part->payload_len - rule.first));
	else if (part->type == &ipc_sem_entry__descriptor)
		extra = decode_semaphores(part);
	else if (rule.extent == IMAGE_EXTENT_QUEUE)
		extra = decode_queue(d);
	else
		extra = json_base64(part->payload, part->payload_len);
	if (!extra)
		return rule.extent == IMAGE_EXTENT_QUEUE ? R_DAMAGED : set(d, entry, "", NULL);
	if (set(d, entry, JSON_EXTRA, extra) != R_OK)
		return R_FAILED;
	return decode_padding(d, part, entry);
}

/* go's crit has the structure as a string of JSON.  NULL if it is none; freed by the caller. */
static json_t *unwrap(const json_t *extra)
{
	if (!json_is_string(extra))
		return json_incref((json_t *)extra);
	return json_loads(json_string_value(extra), 0, NULL);
}

static int encode_streams(const struct json_place *place, const json_t *extra, uint64_t first,
			  struct wire_buffer *bytes)
{
	static const char *const keys[2][2] = { { "inq", "in_q" }, { "outq", "out_q" } };
	json_t *both = unwrap(extra);
	int result = R_OK;

	for (int i = 0; i < 2 && result == R_OK; i++) {
		const json_t *one = json_object_get(both, keys[i][0]);
		const struct json_place at = { place, keys[i][0], 0 };

		if (!one)
			one = json_object_get(both, keys[i][1]);
		result = one ? json_base64_bytes(&at, one, bytes)
			     : json_wrong(place, "should have inq and outq");
		if (result == R_OK && i == 0 && bytes->len != first)
			result = json_wrong(&at, "%zu bytes where inq_len is %" PRIu64, bytes->len,
					    first);
	}
	json_decref(both);
	return result;
}

static int encode_semaphores(const struct json_place *place, const json_t *extra,
			     struct wire_buffer *bytes)
{
	json_t *list = unwrap(extra);
	const json_t *one;
	int result = R_OK;
	size_t i;

	if (!json_is_array(list))
		result = json_wrong(place, "should be a list of numbers");
	json_array_foreach(list, i, one)
	{
		const struct json_place at = { place, NULL, i };
		uint8_t raw[2];
		uint64_t value;

		result = json_encode_number(&at, one, false, &value);
		if (result == R_OK && value > UINT16_MAX)
			result = json_wrong(&at, "does not fit into 16 bits");
		if (result != R_OK)
			break;
		put_le16(raw, (uint16_t)value);
		wire_put(bytes, raw, 2);
	}
	json_decref(list);
	return result;
}

/* Appends bytes, and what fills them up to the multiple. */
static int put_padded(const struct json_place *place, const json_t *object,
		      const struct image_payload *rule, const struct wire_buffer *bytes,
		      struct wire_buffer *image)
{
	const json_t *given = json_object_get(object, JSON_PADDING);
	const struct json_place at = { place, JSON_PADDING, 0 };
	size_t missing = (rule->align - bytes->len % rule->align) % rule->align;
	struct wire_buffer padding = { 0 };
	int result = R_OK;

	wire_put(image, bytes->data, bytes->len);
	if (!given) {
		wire_put_zeroes(image, missing);
		return R_OK;
	}
	result = json_base64_bytes(&at, given, &padding);
	if (result == R_OK && padding.len != missing)
		result = json_wrong(&at, "%zu bytes where %zu are missing to a multiple of %u",
				    padding.len, missing, rule->align);
	wire_put(image, padding.data, padding.len);
	image->failed |= padding.failed;
	wire_buffer_free(&padding);
	return result;
}

static int encode_queued(const struct json_place *place, const json_t *head, const json_t *data,
			 size_t index, struct wire_buffer *image)
{
	const struct json_place at = { place, NULL, index }, behind = { place, NULL, index + 1 };
	struct wire_buffer message = { 0 }, bytes = { 0 };
	json_t *object = unwrap(head);
	struct image_payload rule = { 0 };
	int result;

	result = json_encode_entry(&at, &ipc_msg__descriptor, object, &message);
	if (result == R_OK)
		result = json_base64_bytes(&behind, data, &bytes);
	if (result == R_OK) {
		rule = image_payload_of(image_kind(IMAGE_IPCNS_MSG), &ipc_msg__descriptor,
					message.data, message.len);
		if (bytes.len != rule.amount)
			result = json_wrong(&behind, "%zu bytes where msize is %" PRIu64, bytes.len,
					    rule.amount);
	}
	if (result == R_OK) {
		wire_put_u32(image, (uint32_t)message.len);
		wire_put(image, message.data, message.len);
		result = put_padded(&at, object, &rule, &bytes, image);
	}
	image->failed |= message.failed | bytes.failed;
	json_decref(object);
	wire_buffer_free(&message);
	wire_buffer_free(&bytes);
	return result;
}

static int encode_queue(const struct json_place *place, const json_t *extra, uint64_t messages,
			struct wire_buffer *image)
{
	json_t *list = unwrap(extra);
	size_t n = json_array_size(list);
	int result = R_OK;

	if (n % 2 || n / 2 != messages)
		result = json_wrong(place,
				    "should be a list of %" PRIu64 " messages, each with its bytes",
				    messages);
	for (size_t i = 0; result == R_OK && i < n; i += 2)
		result = encode_queued(place, json_array_get(list, i), json_array_get(list, i + 1),
				       i, image);
	json_decref(list);
	return result;
}

int json_encode_payload(const struct json_place *place, const struct image_kind *kind,
			const ProtobufCMessageDescriptor *type, const uint8_t *message, size_t len,
			const json_t *entry, struct wire_buffer *image)
{
	struct image_payload rule = image_payload_of(kind, type, message, len);
	const json_t *extra = json_object_get(entry, JSON_EXTRA);
	const struct json_place at = { place, JSON_EXTRA, 0 };
	const char *text = json_string_value(extra);
	struct wire_buffer bytes = { 0 };
	int result;

	if (text && strncmp(text, "... <", 5) == 0)
		return json_wrong(&at, "the contents were left out by --nopl");
	if (rule.extent == IMAGE_EXTENT_NONE) {
		/* crit has an empty one for shared memory that is in pagemaps. */
		if (extra && !(text && !*text))
			return json_wrong(&at, "nothing follows such an entry");
		return R_OK;
	}
	if (!extra && rule.amount == 0 && rule.extent != IMAGE_EXTENT_REST)
		return R_OK;
	if (!extra)
		return json_wrong(place, "extra, the bytes that follow the entry, is missing");
	if (rule.extent == IMAGE_EXTENT_QUEUE)
		return encode_queue(&at, extra, rule.amount, image);
	if (type == &tcp_stream_entry__descriptor)
		result = encode_streams(&at, extra, rule.first, &bytes);
	else if (type == &ipc_sem_entry__descriptor)
		result = encode_semaphores(&at, extra, &bytes);
	else
		result = json_base64_bytes(&at, extra, &bytes);
	if (result == R_OK && rule.extent == IMAGE_EXTENT_BYTES && bytes.len != rule.amount)
		result = json_wrong(&at, "%zu bytes where the entry says %" PRIu64, bytes.len,
				    rule.amount);
	if (result == R_OK)
		result = put_padded(place, entry, &rule, &bytes, image);
	image->failed |= bytes.failed;
	wire_buffer_free(&bytes);
	return result;
}
