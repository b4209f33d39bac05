#include "engine/image/image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

/* A message longer than this is damage, not data: the largest, an address space of a million
 * ranges, has about 60 bytes for each. */
#define MESSAGE_MAX_BYTES (256u << 20)

static void put_le32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_le32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Room for `len` more bytes at the end, or NULL with the failure remembered. */
static uint8_t *extend(struct image_writer *writer, size_t len)
{
	uint8_t *at;

	if (writer->failed)
		return NULL;
	if (len > SIZE_MAX / 2 - writer->len)
		goto err0;
	if (writer->len + len > writer->room) {
		size_t room = writer->room ? writer->room : 512;
		uint8_t *more;

		while (room < writer->len + len)
			room *= 2;
		more = realloc(writer->data, room);
		if (!more)
			goto err0;
		writer->data = more;
		writer->room = room;
	}
	at = writer->data + writer->len;
	writer->len += len;
	return at;

err0:
	writer->failed = true;
	return NULL;
}

void image_writer_init(struct image_writer *writer, enum image_kind_id id)
{
	uint8_t *at;

	memset(writer, 0, sizeof(*writer));
	writer->kind = image_kind(id);
	if (writer->kind->head) {
		at = extend(writer, 4);
		if (at)
			put_le32(at, writer->kind->head);
	}
	at = extend(writer, 4);
	if (at)
		put_le32(at, writer->kind->magic);
}

void image_writer_free(struct image_writer *writer)
{
	free(writer->data);
	memset(writer, 0, sizeof(*writer));
}

void image_add(struct image_writer *writer, const ProtobufCMessage *message)
{
	assert(message->descriptor == writer->kind->message);
	image_add_head(writer, message);
}

void image_add_head(struct image_writer *writer, const ProtobufCMessage *message)
{
	size_t len;
	uint8_t *at;

	len = protobuf_c_message_get_packed_size(message);
	if (len > MESSAGE_MAX_BYTES) {
		writer->failed = true;
		return;
	}
	at = extend(writer, 4 + len);
	if (!at)
		return;
	put_le32(at, (uint32_t)len);
	protobuf_c_message_pack(message, at + 4);
	writer->entries++;
}

void image_add_payload(struct image_writer *writer, const void *data, size_t len)
{
	uint8_t *at;

	if (len == 0)
		return;
	at = extend(writer, len);
	if (at)
		memcpy(at, data, len);
}

int image_finish(const struct image_writer *writer)
{
	if (!writer->failed)
		return R_OK;
	warn("image %s: no memory for it; free some and try again", writer->kind->name);
	return R_FAILED;
}

int image_open(struct image_reader *reader, enum image_kind_id id, const char *name,
	       const void *data, size_t len)
{
	const struct image_kind *kind = image_kind(id);
	size_t words = kind->head ? 2 : 1;
	const uint8_t *at = data;

	if (len < words * 4) {
		warn("image %s: %zu bytes are too few for its head; run 'snap verify'", name, len);
		return R_DAMAGED;
	}
	if ((kind->head && get_le32(at) != kind->head) ||
	    get_le32(at + (words - 1) * 4) != kind->magic) {
		warn("image %s: does not begin as an image of kind %s; run 'snap verify'", name,
		     kind->name);
		return R_DAMAGED;
	}
	reader->kind = kind;
	reader->name = name;
	reader->at = at + words * 4;
	reader->end = at + len;
	return R_OK;
}

int image_next(struct image_reader *reader, ProtobufCMessage **message)
{
	return image_next_of(reader, reader->kind->message, message);
}

int image_next_of(struct image_reader *reader, const ProtobufCMessageDescriptor *type,
		  ProtobufCMessage **message)
{
	size_t left = (size_t)(reader->end - reader->at);
	uint32_t len;

	*message = NULL;
	if (left == 0)
		return R_NOT_FOUND;
	if (left < 4) {
		warn("image %s: ends within the length of an entry; run 'snap verify'",
		     reader->name);
		return R_DAMAGED;
	}
	len = get_le32(reader->at);
	if (len > left - 4 || len > MESSAGE_MAX_BYTES) {
		warn("image %s: an entry of %u bytes where %zu are left; run 'snap verify'",
		     reader->name, len, left - 4);
		return R_DAMAGED;
	}
	*message = protobuf_c_message_unpack(type, NULL, len, reader->at + 4);
	if (!*message) {
		warn("image %s: an entry is not a %s; run 'snap verify'", reader->name, type->name);
		return R_DAMAGED;
	}
	reader->at += 4 + len;
	return R_OK;
}

int image_payload(struct image_reader *reader, size_t len, const void **data)
{
	if (len > (size_t)(reader->end - reader->at)) {
		warn("image %s: %zu bytes of contents announced, %td there; run 'snap verify'",
		     reader->name, len, reader->end - reader->at);
		return R_DAMAGED;
	}
	*data = reader->at;
	reader->at += len;
	return R_OK;
}

void image_free_message(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

int image_read_one(enum image_kind_id id, const char *name, const void *data, size_t len,
		   ProtobufCMessage **message)
{
	struct image_reader reader;
	int result;

	*message = NULL;
	result = image_open(&reader, id, name, data, len);
	if (result != R_OK)
		return result;
	result = image_next(&reader, message);
	if (result == R_NOT_FOUND) {
		warn("image %s: is empty; run 'snap verify'", name);
		return R_DAMAGED;
	}
	if (result == R_OK && reader.at != reader.end) {
		warn("image %s: more than one entry; run 'snap verify'", name);
		image_free_message(*message);
		*message = NULL;
		return R_DAMAGED;
	}
	return result;
}
