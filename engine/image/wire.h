/*
 * Protobuf's wire form, field by field and without unpacking: to look at messages of any length and
 * any source byte for byte, and to write them.
 */
#ifndef SNAP_ENGINE_IMAGE_WIRE_H
#define SNAP_ENGINE_IMAGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Groups, 3 and 4, are not used in images. */
enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;	      /* unless it is bytes */
	const uint8_t *bytes; /* if it is */
	size_t len;
	const uint8_t *at; /* where its key stands */
};

/* A message being looked at. */
struct wire_reader {
	const uint8_t *at, *end;
	const char *wrong; /* a few words, after R_DAMAGED */
};

/* The next field.  R_OK, R_NOT_FOUND at the end, R_DAMAGED (not reported; then `at` is where). */
int wire_next(struct wire_reader *reader, struct wire_field *field);

/* Reads a varint and moves `*at` behind it; false, and `*at` as it was, if there is none. */
bool wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

/* The last value of a field that is no bytes; false if the message has none or is none. */
bool wire_find(const void *message, size_t len, uint32_t number, uint64_t *value);

/* Bytes that grow.  Out of memory is remembered in `failed`, so that it need be asked for once. */
struct wire_buffer {
	uint8_t *data;
	size_t len, room;
	bool failed;
};

void wire_buffer_free(struct wire_buffer *buffer);
void wire_put(struct wire_buffer *buffer, const void *bytes, size_t len);
void wire_put_zeroes(struct wire_buffer *buffer, size_t len);
void wire_put_u32(struct wire_buffer *buffer, uint32_t value); /* fixed, little-endian */
void wire_put_varint(struct wire_buffer *buffer, uint64_t value);

/* One field with its key; of `field` all but `at` counts. */
void wire_put_field(struct wire_buffer *buffer, const struct wire_field *field);

#endif
