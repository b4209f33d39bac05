#include "engine/image/wire.h"

#include "base/endian.h"
#include "base/result.h"

#include <stdlib.h>
#include <string.h>

#define VARINT_MAX_BYTES 10
#define FIELD_NUMBER_MAX 0x1fffffffu

bool wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	uint64_t sum = 0;

	for (int i = 0; i < VARINT_MAX_BYTES && i < end - *at; i++) {
		uint8_t byte = (*at)[i];

		sum |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		*at += i + 1;
		*value = sum;
		return true;
	}
	return false;
}

static int wrong(struct wire_reader *reader, const char *words)
{
	reader->wrong = words;
	return R_DAMAGED;
}

/* The value behind the key; moves `*at` behind it. */
static int read_value(struct wire_reader *reader, const uint8_t **at, struct wire_field *field)
{
	uint64_t len;

	switch (field->type) {
	case WIRE_VARINT:
		if (!wire_varint(at, reader->end, &field->value))
			return wrong(reader, "a number that does not end");
		return R_OK;
	case WIRE_FIXED64:
		if (reader->end - *at < 8)
			return wrong(reader, "8 bytes that are not all there");
		field->value = get_le64(*at);
		*at += 8;
		return R_OK;
	case WIRE_FIXED32:
		if (reader->end - *at < 4)
			return wrong(reader, "4 bytes that are not all there");
		field->value = get_le32(*at);
		*at += 4;
		return R_OK;
	case WIRE_BYTES:
		if (!wire_varint(at, reader->end, &len))
			return wrong(reader, "a length that does not end");
		if (len > (uint64_t)(reader->end - *at))
			return wrong(reader, "bytes that are not all there");
		field->bytes = *at;
		field->len = len;
		*at += len;
		return R_OK;
	}
	return wrong(reader, "a field of a type that there is not");
}

int wire_next(struct wire_reader *reader, struct wire_field *field)
{
	const uint8_t *at = reader->at;
	uint64_t key;
	int result;

	if (at == reader->end)
		return R_NOT_FOUND;
	memset(field, 0, sizeof(*field));
	field->at = at;
	if (!wire_varint(&at, reader->end, &key))
		return wrong(reader, "a key that does not end");
	if (key >> 3 == 0 || key >> 3 > FIELD_NUMBER_MAX)
		return wrong(reader, "a field of a number that there is not");
	field->number = (uint32_t)(key >> 3);
	field->type = (enum wire_type)(key & 7);
	result = read_value(reader, &at, field);
	if (result == R_OK)
		reader->at = at;
	return result;
}

bool wire_find(const void *message, size_t len, uint32_t number, uint64_t *value)
{
	struct wire_reader reader = { message, (const uint8_t *)message + len, NULL };
	struct wire_field field;
	bool found = false;
	int result;

	while ((result = wire_next(&reader, &field)) == R_OK) {
		if (field.number != number || field.type == WIRE_BYTES)
			continue;
		*value = field.value;
		found = true;
	}
	return found && result == R_NOT_FOUND;
}

void wire_buffer_free(struct wire_buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}

/* Room for `len` more bytes at the end, or NULL with the failure remembered. */
static uint8_t *extend(struct wire_buffer *buffer, size_t len)
{
	uint8_t *at;

	if (buffer->failed)
		return NULL;
	if (len > SIZE_MAX / 4 - buffer->len)
		goto err0;
	if (buffer->len + len > buffer->room) {
		size_t room = buffer->room ? buffer->room : 256;
		uint8_t *more;

		while (room < buffer->len + len)
			room *= 2;
		more = realloc(buffer->data, room);
		if (!more)
			goto err0;
		buffer->data = more;
		buffer->room = room;
	}
	at = buffer->data + buffer->len;
	buffer->len += len;
	return at;

err0:
	buffer->failed = true;
	return NULL;
}

void wire_put(struct wire_buffer *buffer, const void *bytes, size_t len)
{
	uint8_t *at = len ? extend(buffer, len) : NULL;

	if (at)
		memcpy(at, bytes, len);
}

void wire_put_zeroes(struct wire_buffer *buffer, size_t len)
{
	uint8_t *at = len ? extend(buffer, len) : NULL;

	if (at)
		memset(at, 0, len);
}

void wire_put_u32(struct wire_buffer *buffer, uint32_t value)
{
	uint8_t *at = extend(buffer, 4);

	if (at)
		put_le32(at, value);
}

void wire_put_varint(struct wire_buffer *buffer, uint64_t value)
{
	uint8_t bytes[VARINT_MAX_BYTES];
	size_t n = 0;

	for (; value > 0x7f; value >>= 7)
		bytes[n++] = (uint8_t)(value | 0x80);
	bytes[n++] = (uint8_t)value;
	wire_put(buffer, bytes, n);
}

void wire_put_field(struct wire_buffer *buffer, const struct wire_field *field)
{
	uint8_t fixed[8];

	wire_put_varint(buffer, (uint64_t)field->number << 3 | field->type);
	switch (field->type) {
	case WIRE_VARINT:
		wire_put_varint(buffer, field->value);
		return;
	case WIRE_FIXED64:
		put_le64(fixed, field->value);
		wire_put(buffer, fixed, 8);
		return;
	case WIRE_FIXED32:
		wire_put_u32(buffer, (uint32_t)field->value);
		return;
	case WIRE_BYTES:
		wire_put_varint(buffer, field->len);
		wire_put(buffer, field->bytes, field->len);
		return;
	}
}
