/* Single values that are no messages: numbers in all their forms, words, strings, bytes. */
#include "base/result.h"
#include "engine/image/json_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define KERNEL_MINOR_BITS 20

json_t *image_json_u64(uint64_t value)
{
	char digits[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return json_pack("{s:s}", "", digits);
}

enum wire_type json_wire_type(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_FIXED32;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_FIXED64;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_BYTES;
	default:
		return WIRE_VARINT;
	}
}

static bool is_signed(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_SINT32 ||
	       type == PROTOBUF_C_TYPE_SFIXED32 || type == PROTOBUF_C_TYPE_INT64 ||
	       type == PROTOBUF_C_TYPE_SINT64 || type == PROTOBUF_C_TYPE_SFIXED64 ||
	       type == PROTOBUF_C_TYPE_ENUM;
}

static bool is_narrow(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_SINT32 ||
	       type == PROTOBUF_C_TYPE_SFIXED32 || type == PROTOBUF_C_TYPE_UINT32 ||
	       type == PROTOBUF_C_TYPE_FIXED32 || type == PROTOBUF_C_TYPE_ENUM;
}

static bool is_zigzag(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_SINT32 || type == PROTOBUF_C_TYPE_SINT64;
}

/* The number a varint or fixed value stands for: of signed types, in two's complement. */
static uint64_t number_of(ProtobufCType type, uint64_t raw)
{
	uint64_t value = is_zigzag(type) ? (raw >> 1) ^ (0 - (raw & 1)) : raw;

	if (!is_narrow(type))
		return value;
	return is_signed(type) ? (uint64_t)(int64_t)(int32_t)value : (uint32_t)value;
}

static json_t *number(uint64_t value, bool negative_possible)
{
	return negative_possible ? json_integer((json_int_t)value) : image_json_u64(value);
}

static json_t *hex_text(uint64_t value, bool negative_possible)
{
	char text[24];

	if (negative_possible && (int64_t)value < 0)
		snprintf(text, sizeof(text), "-0x%" PRIx64, 0 - value);
	else
		snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

/* "A | B | 0x100"; of nothing, an empty string. */
static json_t *flags_text(const struct json_word *words, uint64_t value)
{
	char text[512] = "", rest[24];

	for (; words->word; words++) {
		if (!(value & words->value))
			continue;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			 *text ? " | " : "", words->word);
		value &= ~(uint64_t)words->value;
	}
	if (value) {
		snprintf(rest, sizeof(rest), "0x%" PRIx64, value);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			 *text ? " | " : "", rest);
	}
	return json_string(text);
}

static json_t *pretty_number(const struct json_form_row *form, bool hex, bool negative_possible,
			     uint64_t value)
{
	char text[48];

	if (hex || form->form == FORM_HEX)
		return hex_text(value, negative_possible);
	switch (form->form) {
	case FORM_DEV:
		snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64, value >> KERNEL_MINOR_BITS,
			 value & ((1u << KERNEL_MINOR_BITS) - 1));
		return json_string(text);
	case FORM_ODEV:
		snprintf(text, sizeof(text), "%u:%u", major(value), minor(value));
		return json_string(text);
	case FORM_FLAGS:
		return flags_text(form->words, value);
	case FORM_WORDS:
		for (const struct json_word *w = form->words; w->word; w++)
			if (w->value == value)
				return json_string(w->word);
		return number(value, negative_possible);
	default:
		return number(value, negative_possible);
	}
}

/* A string is what it is if it is UTF-8, as JSON wants it, and otherwise bytes. */
static json_t *string_value(const uint8_t *bytes, size_t len)
{
	json_t *json = json_stringn((const char *)bytes, len);

	return json ? json : json_pack("{s:o}", "base64", json_base64(bytes, len));
}

json_t *json_decode_scalar(const ProtobufCFieldDescriptor *field, const struct json_form_row *form,
			   bool pretty, bool hex, const struct wire_field *value)
{
	uint64_t n = number_of(field->type, value->value);
	const ProtobufCEnumValue *word;

	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(value->value != 0);
	case PROTOBUF_C_TYPE_STRING:
		return string_value(value->bytes, value->len);
	case PROTOBUF_C_TYPE_BYTES:
		return form->form == FORM_QUOTED ? json_quoted(value->bytes, value->len)
						 : json_base64(value->bytes, value->len);
	case PROTOBUF_C_TYPE_ENUM:
		word = protobuf_c_enum_descriptor_get_value(field->descriptor, (int)(int64_t)n);
		return word ? json_string(word->name) : json_integer((json_int_t)n);
	default:
		return pretty ? pretty_number(form, hex, is_signed(field->type), n)
			      : number(n, is_signed(field->type));
	}
}

/* Digits with a sign, "0x" or "0" and more octal ones before them; to the end of the text. */
static bool text_number(const char *text, bool signed_too, uint64_t *value)
{
	bool negative = *text == '-';
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (*digits < '0' || *digits > '9')
		return false;
	errno = 0;
	*value = strtoull(digits, &end, 0);
	if (errno || *end)
		return false;
	if (!negative)
		return !signed_too || *value <= INT64_MAX;
	if (*value && (!signed_too || *value > (uint64_t)INT64_MAX + 1))
		return false;
	*value = 0 - *value;
	return true;
}

int json_encode_number(const struct json_place *place, const json_t *json, bool signed_too,
		       uint64_t *value)
{
	const json_t *large = json_object_size(json) == 1 ? json_object_get(json, "") : NULL;

	if (large)
		json = large;
	if (json_is_integer(json)) {
		*value = (uint64_t)json_integer_value(json);
		if ((int64_t)*value < 0 && !signed_too)
			return json_wrong(place, "%" PRId64 " is below 0", (int64_t)*value);
		return R_OK;
	}
	if (!json_is_string(json))
		return json_wrong(place, "should be a whole number");
	if (!text_number(json_string_value(json), signed_too, value))
		return json_wrong(place, "\"%.40s\" is no whole number of at most 64 bits",
				  json_string_value(json));
	return R_OK;
}

static int encode_flags(const struct json_place *place, const struct json_word *words,
			const char *text, uint64_t *value)
{
	char one[64];

	*value = 0;
	for (const char *at = text; *at;) {
		size_t len = strcspn(at, "|"), begin = strspn(at, " "), end = len;
		const struct json_word *w;
		uint64_t bits = 0;

		while (end > begin && at[end - 1] == ' ')
			end--;
		if (end < begin || end - begin >= sizeof(one))
			return json_wrong(place, "\"%.40s\" are no flags", text);
		memcpy(one, at + begin, end - begin);
		one[end - begin] = '\0';
		for (w = words; w->word && strcmp(w->word, one) != 0; w++)
			;
		if (w->word)
			bits = w->value;
		else if (!text_number(one, false, &bits))
			return json_wrong(place, "there is no flag \"%s\"", one);
		*value |= bits;
		at += len + (at[len] == '|');
	}
	return R_OK;
}

static int encode_dev(const struct json_place *place, const struct json_form_row *form,
		      const char *text, uint64_t *value)
{
	unsigned int upper, lower;
	int end = 0;

	if (sscanf(text, "%u:%u%n", &upper, &lower, &end) != 2 || text[end])
		return json_wrong(place, "\"%.40s\" is no device, as in 8:1", text);
	*value = form->form == FORM_ODEV ? makedev(upper, lower)
					 : (uint64_t)upper << KERNEL_MINOR_BITS | lower;
	return R_OK;
}

/* A number in whatever form the field has. */
static int encode_formed(const struct json_place *place, const struct json_form_row *form,
			 const json_t *json, bool signed_too, uint64_t *value)
{
	const char *text = json_string_value(json);

	if (!text)
		return json_encode_number(place, json, signed_too, value);
	if (form->form == FORM_FLAGS)
		return encode_flags(place, form->words, text, value);
	if ((form->form == FORM_DEV || form->form == FORM_ODEV) && strchr(text, ':'))
		return encode_dev(place, form, text, value);
	if (form->form == FORM_WORDS) {
		for (const struct json_word *w = form->words; w->word; w++) {
			if (strcmp(w->word, text) == 0) {
				*value = w->value;
				return R_OK;
			}
		}
	}
	return json_encode_number(place, json, signed_too, value);
}

static int encode_integer(const struct json_place *place, const ProtobufCFieldDescriptor *field,
			  const struct json_form_row *form, const json_t *json,
			  struct wire_field *value)
{
	bool signed_too = is_signed(field->type);
	uint64_t n;

	if (encode_formed(place, form, json, signed_too, &n) != R_OK)
		return R_FAILED;
	if (is_narrow(field->type) &&
	    number_of(PROTOBUF_C_TYPE_INT64, n) !=
		(signed_too ? (uint64_t)(int64_t)(int32_t)n : (uint32_t)n))
		return json_wrong(place, "does not fit into 32 bits");
	if (is_zigzag(field->type))
		n = n << 1 ^ (0 - (n >> 63));
	value->value = n;
	return R_OK;
}

static int encode_enum(const struct json_place *place, const ProtobufCFieldDescriptor *field,
		       const json_t *json, struct wire_field *value)
{
	static const struct json_form_row plain = { .form = FORM_PLAIN };
	const char *text = json_string_value(json);
	const ProtobufCEnumDescriptor *type = field->descriptor;
	const ProtobufCEnumValue *word;

	word = text ? protobuf_c_enum_descriptor_get_value_by_name(type, text) : NULL;
	if (word) {
		value->value = (uint64_t)(int64_t)word->value;
		return R_OK;
	}
	if (text && (*text < '0' || *text > '9') && *text != '-')
		return json_wrong(place, "\"%.40s\" is no %s", text, type->name);
	return encode_integer(place, field, &plain, json, value);
}

static int encode_string(const struct json_place *place, const json_t *json,
			 struct wire_buffer *made)
{
	const json_t *bytes = json_object_size(json) == 1 ? json_object_get(json, "base64") : NULL;

	if (bytes)
		return json_base64_bytes(place, bytes, made);
	if (!json_is_string(json))
		return json_wrong(place, "should be a string");
	wire_put(made, json_string_value(json), json_string_length(json));
	return R_OK;
}

int json_encode_scalar(const struct json_place *place, const ProtobufCFieldDescriptor *field,
		       const struct json_form_row *form, const json_t *json,
		       struct wire_field *value, struct wire_buffer *made)
{
	int result;

	*value = (struct wire_field){ .number = field->id, .type = json_wire_type(field->type) };
	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		value->value = json_is_true(json) || json_integer_value(json) == 1;
		if (!json_is_boolean(json) &&
		    !(json_is_integer(json) && (uint64_t)json_integer_value(json) <= 1))
			return json_wrong(place, "should be true or false");
		return R_OK;
	case PROTOBUF_C_TYPE_ENUM:
		return encode_enum(place, field, json, value);
	case PROTOBUF_C_TYPE_STRING:
		result = encode_string(place, json, made);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		result = form->form == FORM_QUOTED ? json_quoted_bytes(place, json, made)
						   : json_base64_bytes(place, json, made);
		break;
	default:
		return encode_integer(place, field, form, json, value);
	}
	value->bytes = made->data;
	value->len = made->len;
	return result;
}

/* RFC 5952, but always with groups only: inet_ntop() writes some ends as an IPv4 address. */
static void ip6_text(const uint16_t groups[8], char text[INET6_ADDRSTRLEN])
{
	int best = -1, best_len = 1, run = 0;
	char *at = text;

	for (int i = 0; i < 8; i++) {
		run = groups[i] ? 0 : run + 1;
		if (run > best_len) {
			best_len = run;
			best = i - run + 1;
		}
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			at += sprintf(at, "::");
			i += best_len - 1;
			continue;
		}
		at += sprintf(at, "%s%x", i && i != best + best_len ? ":" : "", groups[i]);
	}
	*at = '\0';
}

json_t *json_decode_ip(const json_t *numbers)
{
	size_t n = json_array_size(numbers);
	char text[INET6_ADDRSTRLEN];
	uint16_t groups[8];
	uint32_t words[4];

	if (n != 1 && n != 4)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		words[i] = (uint32_t)json_integer_value(json_array_get(numbers, i));
		groups[2 * i] = (uint16_t)(ntohl(words[i]) >> 16);
		groups[2 * i + 1] = (uint16_t)ntohl(words[i]);
	}
	if (n == 1)
		inet_ntop(AF_INET, words, text, sizeof(text));
	else
		ip6_text(groups, text);
	return json_pack("[s]", text);
}

size_t json_encode_ip(const char *text, uint32_t words[4])
{
	if (inet_pton(AF_INET, text, words) == 1)
		return 1;
	return inet_pton(AF_INET6, text, words) == 1 ? 4 : 0;
}
