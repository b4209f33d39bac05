/* An object as a message: fields in the order of their numbers, as protobuf writes them. */
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/json_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void write_place(const struct json_place *place, FILE *out)
{
	if (place->around)
		write_place(place->around, out);
	if (!place->around)
		fprintf(out, "%s: ", place->key);
	else if (!place->key)
		fprintf(out, "[%zu]", place->index);
	else
		fprintf(out, "%s%s", place->around->around ? "." : "", place->key);
}

int json_wrong(const struct json_place *place, const char *fmt, ...)
{
	char path[400] = "", words[200];
	FILE *out = fmemopen(path, sizeof(path) - 1, "w");
	va_list args;

	va_start(args, fmt);
	vsnprintf(words, sizeof(words), fmt, args);
	va_end(args);
	if (out) {
		write_place(place, out);
		fclose(out);
	}
	warn("%s%s%s", path, place->around ? ": " : "", words);
	return R_FAILED;
}

/* Fields of unknown meaning, in the list a decoding has made; `next` is the first one not written
 * yet. */
static int encode_unknown(const struct json_place *place, const json_t *list, size_t next,
			  struct wire_field *field, struct wire_buffer *made)
{
	const struct json_place at = { place, NULL, next };
	const struct json_place value = { &at, "value", 0 };
	const json_t *one = json_array_get(list, next);
	uint64_t number, type;

	if (!json_object_get(one, "number") || !json_object_get(one, "wire_type") ||
	    !json_object_get(one, "value"))
		return json_wrong(&at, "should have number, wire_type and value");
	if (json_encode_number(&at, json_object_get(one, "number"), false, &number) != R_OK ||
	    json_encode_number(&at, json_object_get(one, "wire_type"), false, &type) != R_OK)
		return R_FAILED;
	if (number == 0 || number > 0x1fffffff || type > 5 || type == 3 || type == 4)
		return json_wrong(&at, "there is no field of that number or type");
	*field = (struct wire_field){ .number = (uint32_t)number, .type = (enum wire_type)type };
	if (type != WIRE_BYTES)
		return json_encode_number(&value, json_object_get(one, "value"), false,
					  &field->value);
	if (json_base64_bytes(&value, json_object_get(one, "value"), made) != R_OK)
		return R_FAILED;
	field->bytes = made->data;
	field->len = made->len;
	return R_OK;
}

/* Writes those unknown fields that stand before field number `before`. */
static int put_unknown(const struct json_place *place, const json_t *list, size_t *next,
		       uint32_t before, struct wire_buffer *message)
{
	const struct json_place at = { place, JSON_UNKNOWN, 0 };

	while (*next < json_array_size(list)) {
		struct wire_buffer made = { 0 };
		struct wire_field field;
		int result = encode_unknown(&at, list, *next, &field, &made);
		bool now = result == R_OK && field.number < before;

		if (now) {
			wire_put_field(message, &field);
			message->failed |= made.failed;
			++*next;
		}
		wire_buffer_free(&made);
		if (!now)
			return result;
	}
	return R_OK;
}

static int put_value(const struct json_place *place, const ProtobufCMessageDescriptor *type,
		     const ProtobufCFieldDescriptor *field, const json_t *value, int depth,
		     struct wire_buffer *message)
{
	struct wire_buffer made = { 0 };
	struct wire_field out = { .number = field->id, .type = WIRE_BYTES };
	int result;

	if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
		result = json_encode_message(place, field->descriptor, value, depth + 1, &made);
		out.bytes = made.data;
		out.len = made.len;
	} else {
		result = json_encode_scalar(place, field, json_form(type, field->name), value, &out,
					    &made);
	}
	if (result == R_OK)
		wire_put_field(message, &out);
	message->failed |= made.failed;
	wire_buffer_free(&made);
	return result;
}

/* A list; of addresses, in either form. */
static int put_list(const struct json_place *place, const ProtobufCMessageDescriptor *type,
		    const ProtobufCFieldDescriptor *field, const json_t *list, int depth,
		    struct wire_buffer *message)
{
	const char *text = json_string_value(json_array_get(list, 0));
	uint32_t words[4];
	size_t n;

	if (!json_is_array(list))
		return json_wrong(place, "should be a list");
	n = text && json_form(type, field->name)->form == FORM_IP ? json_encode_ip(text, words) : 0;
	if (n && json_array_size(list) > 1)
		return json_wrong(place, "should be one address");
	for (size_t i = 0; i < n; i++) {
		struct wire_field out = { field->id, WIRE_VARINT, words[i], NULL, 0, NULL };

		wire_put_field(message, &out);
	}
	for (size_t i = 0; n == 0 && i < json_array_size(list); i++) {
		const struct json_place at = { place, NULL, i };
		int result = put_value(&at, type, field, json_array_get(list, i), depth, message);

		if (result != R_OK)
			return result;
	}
	return R_OK;
}

/* What is no field would be lost without a word. */
static int refuse_others(const struct json_place *place, const ProtobufCMessageDescriptor *type,
			 const json_t *object, int depth)
{
	static const char *const of_entries[] = { JSON_EXTRA, JSON_PADDING, JSON_RAW };
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		bool known = strcmp(key, JSON_UNKNOWN) == 0 ||
			     protobuf_c_message_descriptor_get_field_by_name(type, key);

		for (size_t i = 0; depth == 0 && i < sizeof(of_entries) / sizeof(char *); i++)
			known = known || strcmp(key, of_entries[i]) == 0;
		if (!known)
			return json_wrong(place, "\"%.60s\" is no field of %s", key, type->name);
	}
	return R_OK;
}

int json_encode_message(const struct json_place *place, const ProtobufCMessageDescriptor *type,
			const json_t *object, int depth, struct wire_buffer *message)
{
	const json_t *unknown = json_object_get(object, JSON_UNKNOWN);
	size_t next = 0;

	if (!json_is_object(object))
		return json_wrong(place, "should be an object, a %s", type->name);
	if (depth > JSON_DEPTH_MAX)
		return json_wrong(place, "messages within messages, more than %d deep",
				  JSON_DEPTH_MAX);
	if (unknown && !json_is_array(unknown))
		return json_wrong(place, "%s should be a list", JSON_UNKNOWN);
	if (refuse_others(place, type, object, depth) != R_OK)
		return R_FAILED;
	for (unsigned int i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const struct json_place at = { place, field->name, 0 };
		const json_t *value = json_object_get(object, field->name);
		int result;

		if (!value && field->label == PROTOBUF_C_LABEL_REQUIRED)
			return json_wrong(place, "no %s: %s is missing", type->name, field->name);
		if (!value)
			continue;
		result = put_unknown(place, unknown, &next, field->id, message);
		if (result != R_OK)
			return result;
		result = field->label == PROTOBUF_C_LABEL_REPEATED
			     ? put_list(&at, type, field, value, depth, message)
			     : put_value(&at, type, field, value, depth, message);
		if (result != R_OK)
			return result;
	}
	return put_unknown(place, unknown, &next, UINT32_MAX, message);
}
