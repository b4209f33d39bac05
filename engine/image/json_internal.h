/* Between the files of image/json*.c only. */
#ifndef SNAP_ENGINE_IMAGE_JSON_INTERNAL_H
#define SNAP_ENGINE_IMAGE_JSON_INTERNAL_H

#include "engine/image/image.h"
#include "engine/image/json.h"
#include "engine/image/scan.h"

/* Messages within messages are followed this deep: more is an attack on the stack. */
#define JSON_DEPTH_MAX 100

/* Members of an entry that are no fields of its message. */
#define JSON_EXTRA "extra"
#define JSON_PADDING "extra_padding"
#define JSON_UNKNOWN "unknown_fields"
#define JSON_RAW "raw_bytes"

/* How a field is shown, if not as what it is. */
enum json_form {
	FORM_PLAIN,
	FORM_HEX,    /* and all numbers below, if it is a message */
	FORM_IP,     /* 1 or 4 words of network byte order */
	FORM_DEV,    /* the kernel's own device number, with 20 minor bits */
	FORM_ODEV,   /* the C library's */
	FORM_FLAGS,  /* bits with names */
	FORM_WORDS,  /* values with names */
	FORM_QUOTED, /* bytes as quoted-printable text */
};

struct json_word {
	const char *word;
	uint32_t value;
};

/* The form of a field, with its words; never NULL. */
struct json_form_row {
	const ProtobufCMessageDescriptor *type;
	const char *field;
	enum json_form form;
	const struct json_word *words; /* ended by one without word */
};
const struct json_form_row *json_form(const ProtobufCMessageDescriptor *type, const char *field);

/* A place in a value that is being encoded, for messages: each knows the one around it. */
struct json_place {
	const struct json_place *around;
	const char *key; /* NULL: an index.  Of the outermost: the name of the image. */
	size_t index;
};
/* "NAME: entries[3].vmas[0].start: WORDS".  R_FAILED. */
int json_wrong(const struct json_place *place, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One image being decoded. */
struct json_decoding {
	const struct image_scan *scan;
	const struct image_part *part;
	bool pretty;
};

/* A message's bytes as an object.  R_OK, R_DAMAGED or R_FAILED, reported. */
int json_decode_message(const struct json_decoding *d, const ProtobufCMessageDescriptor *type,
			const uint8_t *bytes, size_t len, bool hex, int depth, json_t **json);

/* An object's fields as a message; of the outermost message, `entry`, members that are no fields
 * may be there.  R_OK or R_FAILED, reported. */
int json_encode_message(const struct json_place *place, const ProtobufCMessageDescriptor *type,
			const json_t *object, int depth, struct wire_buffer *message);

/* The same for a whole entry, `d->part`, and with its bytes where the fields do not make them. */
int json_decode_entry(const struct json_decoding *d, json_t **object);
int json_encode_entry(const struct json_place *place, const ProtobufCMessageDescriptor *type,
		      const json_t *object, struct wire_buffer *message);

/* A single value that is no message.  Decoding: `field` as it stands on the wire; NULL without
 * memory. Encoding: `number` and what the type says is filled in; bytes that had to be made are in
 * `made`.  R_OK or R_FAILED, reported. */
json_t *json_decode_scalar(const ProtobufCFieldDescriptor *field, const struct json_form_row *form,
			   bool pretty, bool hex, const struct wire_field *value);
int json_encode_scalar(const struct json_place *place, const ProtobufCFieldDescriptor *field,
		       const struct json_form_row *form, const json_t *json,
		       struct wire_field *value, struct wire_buffer *made);
/* A whole number, below 0 only if `is_signed`, also one in a string. */
int json_encode_number(const struct json_place *place, const json_t *json, bool is_signed,
		       uint64_t *value);
enum wire_type json_wire_type(ProtobufCType type);

/* Addresses in repeated numbers: a list of one string, or NULL if there are not 1 or 4. */
json_t *json_decode_ip(const json_t *numbers);
/* The 1 or 4 words of such a string; 0 if it is none. */
size_t json_encode_ip(const char *text, uint32_t words[4]);

/* Bytes as base64, with a line for each 76 characters as python breaks them, or as quoted-printable
 * text.  NULL without memory. */
json_t *json_base64(const uint8_t *bytes, size_t len);
json_t *json_quoted(const uint8_t *bytes, size_t len);
/* The bytes of such a string.  R_OK or R_FAILED, reported. */
int json_base64_bytes(const struct json_place *place, const json_t *json,
		      struct wire_buffer *bytes);
int json_quoted_bytes(const struct json_place *place, const json_t *json,
		      struct wire_buffer *bytes);

/* What follows an entry: added to its object, or appended to the image.  R_OK, R_DAMAGED, R_FAILED,
 * reported. */
int json_decode_payload(const struct json_decoding *d, bool no_payload, json_t *entry);
int json_encode_payload(const struct json_place *place, const struct image_kind *kind,
			const ProtobufCMessageDescriptor *type, const uint8_t *message, size_t len,
			const json_t *entry, struct wire_buffer *image);

#endif
