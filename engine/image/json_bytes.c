/* Bytes as text: base64 in lines, and quoted-printable, both as python's library has them. */
#include "base/result.h"
#include "engine/image/json_internal.h"

#include <string.h>

#define LINE_CHARACTERS 76

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char digits16[] = "0123456789ABCDEF";

static json_t *string_of(struct wire_buffer *text)
{
	json_t *json = text->failed ? NULL : json_stringn((const char *)text->data, text->len);

	wire_buffer_free(text);
	return json;
}

json_t *json_base64(const uint8_t *bytes, size_t len)
{
	struct wire_buffer text = { 0 };

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t three = (uint32_t)bytes[i] << 16 |
				 (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
				 (n > 2 ? bytes[i + 2] : 0);
		char four[4];

		for (size_t k = 0; k < 4; k++)
			four[k] = k <= n ? digits64[three >> (18 - 6 * k) & 63] : '=';
		wire_put(&text, four, 4);
		if ((i / 3 + 1) % (LINE_CHARACTERS / 4) == 0 || i + 3 >= len)
			wire_put(&text, "\n", 1);
	}
	return len ? string_of(&text) : json_string("");
}

static int value_of64(char c)
{
	const char *at = c ? strchr(digits64, c) : NULL;

	return at ? (int)(at - digits64) : -1;
}

int json_base64_bytes(const struct json_place *place, const json_t *json, struct wire_buffer *bytes)
{
	const char *text = json_string_value(json);
	size_t len = json_string_length(json), got = 0, ends = 0;
	uint32_t four = 0;

	if (!text)
		return json_wrong(place, "bytes are a string of base64 here");
	for (size_t i = 0; i < len; i++) {
		int value = value_of64(text[i]);
		uint8_t out[3];

		if (text[i] == '\n' || text[i] == '\r' || text[i] == ' ')
			continue;
		if (text[i] == '=' && got % 4 >= 2)
			ends++;
		else if (value < 0 || ends)
			return json_wrong(place, "character %zu is not base64", i + 1);
		four = four << 6 | (uint32_t)(value < 0 ? 0 : value);
		if (++got % 4)
			continue;
		for (size_t k = 0; k < 3; k++)
			out[k] = (uint8_t)(four >> (16 - 8 * k));
		wire_put(bytes, out, 3 - ends);
	}
	if (got % 4)
		return json_wrong(place, "base64 that ends within a group of four");
	return R_OK;
}

/* True if this byte of a line is not to stand for itself. */
static bool to_quote(const uint8_t *bytes, size_t len, size_t at, size_t column)
{
	uint8_t c = bytes[at];
	uint8_t next = at + 1 < len ? bytes[at + 1] : 0;

	if (c > 126 || c == '=')
		return true;
	if (c == '.' && column == 0)
		return next == '\n' || next == '\r' || next == 0;
	if (c == '\t' || c == ' ')
		return at + 1 == len;
	return c < 33 && c != '\r' && c != '\n';
}

json_t *json_quoted(const uint8_t *bytes, size_t len)
{
	struct wire_buffer text = { 0 };
	size_t column = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = bytes[i];
		bool last = i + 1 == len;

		if (to_quote(bytes, len, i, column)) {
			const char quoted[] = { '=', digits16[c >> 4], digits16[c & 15] };

			if (column + 3 >= LINE_CHARACTERS) {
				wire_put(&text, "=\n", 2);
				column = 0;
			}
			wire_put(&text, quoted, 3);
			column += 3;
		} else if (c == '\n') {
			uint8_t before = i ? bytes[i - 1] : 0;

			/* White space at the end of a line would get lost. */
			if (before == ' ' || before == '\t') {
				text.len--;
				wire_put(&text, before == ' ' ? "=20" : "=09", 3);
			}
			wire_put(&text, "\n", 1);
			column = 0;
		} else {
			if (!last && bytes[i + 1] != '\n' && column + 1 >= LINE_CHARACTERS) {
				wire_put(&text, "=\n", 2);
				column = 0;
			}
			wire_put(&text, &c, 1);
			column++;
		}
	}
	return len ? string_of(&text) : json_string("");
}

static int value_of16(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int json_quoted_bytes(const struct json_place *place, const json_t *json, struct wire_buffer *bytes)
{
	const char *text = json_string_value(json);
	size_t len = json_string_length(json);

	if (!text)
		return json_wrong(place, "bytes are a string of quoted-printable text here");
	for (size_t i = 0; i < len; i++) {
		int high, low;
		uint8_t byte;

		if (text[i] != '=') {
			wire_put(bytes, &text[i], 1);
			continue;
		}
		if (i + 1 < len && text[i + 1] == '\n') {
			i++;
			continue;
		}
		high = i + 2 < len ? value_of16(text[i + 1]) : -1;
		low = high >= 0 ? value_of16(text[i + 2]) : -1;
		if (low < 0)
			return json_wrong(place, "\"=\" without two hexadecimal digits behind it");
		byte = (uint8_t)(high << 4 | low);
		wire_put(bytes, &byte, 1);
		i += 2;
	}
	return R_OK;
}
