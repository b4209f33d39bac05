/* A message's bytes as an object: every field that is there, in the order of their numbers. */
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/json_internal.h"

#include <stdlib.h>

/* One message being decoded. */
struct message {
	const struct json_decoding *d;
	const ProtobufCMessageDescriptor *type;
	bool hex;
	int depth;
	json_t **values; /* for each field of the type what was found */
	json_t *unknown; /* NULL: nothing */
};

static int no_memory(const struct json_decoding *d)
{
	warn("image %s: no memory for it as JSON; free some and try again", d->scan->name);
	return R_FAILED;
}

static int add(const struct message *m, json_t *array, json_t *value)
{
	return array && value && json_array_append_new(array, value) == 0 ? R_OK : no_memory(m->d);
}

/* A field we have no description of, so that it is not lost. */
static int decode_unknown(struct message *m, const struct wire_field *field)
{
	json_t *value = field->type == WIRE_BYTES ? json_base64(field->bytes, field->len)
						  : image_json_u64(field->value);

	if (!m->unknown)
		m->unknown = json_array();
	return add(m, m->unknown,
		   value ? json_pack("{s:I, s:i, s:o}", "number", (json_int_t)field->number,
				     "wire_type", (int)field->type, "value", value)
			 : NULL);
}

static int decode_value(const struct message *m, const ProtobufCFieldDescriptor *field,
			const struct json_form_row *form, const struct wire_field *found,
			json_t **value)
{
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return json_decode_message(m->d, field->descriptor, found->bytes, found->len,
					   m->hex || form->form == FORM_HEX, m->depth + 1, value);
	/* Addresses are made of all their words at the end. */
	*value =
	    json_decode_scalar(field, form, m->d->pretty && form->form != FORM_IP, m->hex, found);
	return *value ? R_OK : no_memory(m->d);
}

/* Several values in one, as newer writers of protobuf have repeated numbers. */
static int decode_packed(const struct message *m, const ProtobufCFieldDescriptor *field,
			 const struct json_form_row *form, const struct wire_field *found,
			 json_t *array)
{
	const uint8_t *at = found->bytes, *end = at + found->len;
	enum wire_type type = json_wire_type(field->type);

	while (at < end) {
		/* A buffer in front of which a key could stand, to read by the same rules. */
		struct wire_field one = { .number = field->id, .type = type };
		size_t width = type == WIRE_FIXED64 ? 8 : 4;
		json_t *value;

		if (type == WIRE_VARINT) {
			if (!wire_varint(&at, end, &one.value))
				break;
		} else {
			if ((size_t)(end - at) < width)
				break;
			for (size_t i = 0; i < width; i++)
				one.value |= (uint64_t)at[i] << (8 * i);
			at += width;
		}
		if (decode_value(m, field, form, &one, &value) != R_OK ||
		    add(m, array, value) != R_OK)
			return R_FAILED;
	}
	if (at == end)
		return R_OK;
	return image_scan_wrong(m->d->scan, m->d->part->number, at, "%s of %s ends within a value",
				field->name, m->type->name);
}

static int decode_field(struct message *m, const struct wire_field *found)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(m->type, found->number);
	const struct json_form_row *form;
	json_t **place, *value;
	bool packed;
	int result;

	if (!field)
		return decode_unknown(m, found);
	form = json_form(m->type, field->name);
	place = &m->values[field - m->type->fields];
	packed = field->label == PROTOBUF_C_LABEL_REPEATED && found->type == WIRE_BYTES &&
		 json_wire_type(field->type) != WIRE_BYTES;
	if (found->type != json_wire_type(field->type) && !packed)
		return image_scan_wrong(m->d->scan, m->d->part->number, found->at,
					"%s of %s has wire type %d instead of %d", field->name,
					m->type->name, found->type, json_wire_type(field->type));
	if (field->label == PROTOBUF_C_LABEL_REPEATED && !*place)
		*place = json_array();
	if (packed)
		return decode_packed(m, field, form, found, *place);
	result = decode_value(m, field, form, found, &value);
	if (result != R_OK)
		return result;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return add(m, *place, value);
	json_decref(*place);
	*place = value;
	return R_OK;
}

static int decode_fields(struct message *m, const uint8_t *bytes, size_t len)
{
	struct wire_reader reader = { bytes, bytes + len, NULL };
	struct wire_field found;
	int result;

	while ((result = wire_next(&reader, &found)) == R_OK) {
		result = decode_field(m, &found);
		if (result != R_OK)
			return result;
	}
	if (result == R_DAMAGED)
		return image_scan_wrong(m->d->scan, m->d->part->number, reader.at, "no %s: %s",
					m->type->name, reader.wrong);
	for (unsigned int i = 0; i < m->type->n_fields; i++)
		if (m->type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && !m->values[i])
			return image_scan_wrong(m->d->scan, m->d->part->number, bytes,
						"no %s: it lacks %s", m->type->name,
						m->type->fields[i].name);
	return R_OK;
}

/* Puts what was found into the object, which then owns it. */
static int collect(struct message *m, json_t *object)
{
	for (unsigned int i = 0; i < m->type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &m->type->fields[i];
		json_t *value = m->values[i], *address = NULL;

		if (!value)
			continue;
		m->values[i] = NULL;
		if (m->d->pretty && json_form(m->type, field->name)->form == FORM_IP)
			address = json_decode_ip(value);
		if (address) {
			json_decref(value);
			value = address;
		}
		if (json_object_set_new(object, field->name, value) < 0)
			return no_memory(m->d);
	}
	if (m->unknown && json_object_set(object, JSON_UNKNOWN, m->unknown) < 0)
		return no_memory(m->d);
	return R_OK;
}

int json_decode_message(const struct json_decoding *d, const ProtobufCMessageDescriptor *type,
			const uint8_t *bytes, size_t len, bool hex, int depth, json_t **json)
{
	struct message m = { .d = d, .type = type, .hex = hex, .depth = depth };
	json_t *object;
	int result;

	if (depth > JSON_DEPTH_MAX)
		return image_scan_wrong(d->scan, d->part->number, bytes,
					"messages within messages, more than %d deep",
					JSON_DEPTH_MAX);
	object = json_object();
	m.values = calloc(type->n_fields + 1, sizeof(json_t *));
	if (!object || !m.values) {
		result = no_memory(d);
		goto out;
	}
	result = decode_fields(&m, bytes, len);
	if (result == R_OK)
		result = collect(&m, object);
	for (unsigned int i = 0; i < type->n_fields; i++)
		json_decref(m.values[i]);
out:
	json_decref(m.unknown);
	free(m.values);
	if (result != R_OK) {
		json_decref(object);
		object = NULL;
	}
	*json = object;
	return result;
}
