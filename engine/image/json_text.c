/* JSON as text: read without losing large numbers, printed as python's json module prints it. */
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/json_internal.h"

#include <string.h>

/* From this many digits on a number may be more than jansson's integers hold. */
#define DIGITS_LARGE 19

/* Moves over a string; `at` stands on its first quote. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
	for (at++; at < len && text[at] != '"'; at++)
		if (text[at] == '\\')
			at++;
	return at < len ? at + 1 : len;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The text with large whole numbers in quotes. */
static void quote_large(const char *text, size_t len, struct wire_buffer *out)
{
	size_t copied = 0, at = 0;

	while (at < len) {
		size_t begin = at, digits;

		if (text[at] == '"') {
			at = skip_string(text, len, at);
			continue;
		}
		if (text[at] == '-')
			at++;
		digits = at;
		while (at < len && is_digit(text[at]))
			at++;
		if (at == digits) {
			at = begin + 1;
			continue;
		}
		if (at < len && strchr(".eE", text[at])) {
			/* No whole number: what follows is not to be taken for one. */
			while (at < len && (is_digit(text[at]) || strchr(".eE+-", text[at])))
				at++;
		} else if (at - digits >= DIGITS_LARGE) {
			wire_put(out, text + copied, begin - copied);
			wire_put(out, "\"", 1);
			wire_put(out, text + begin, at - begin);
			wire_put(out, "\"", 1);
			copied = at;
		}
	}
	wire_put(out, text + copied, len - copied);
}

int image_json_parse(const char *name, const char *text, size_t len, json_t **json)
{
	struct wire_buffer quoted = { 0 };
	json_error_t error;
	int result = R_OK;

	if (len == 0) {
		warn("%s: is empty", name);
		return R_FAILED;
	}
	quote_large(text, len, &quoted);
	if (quoted.failed) {
		warn("%s: no memory for it; free some and try again", name);
		wire_buffer_free(&quoted);
		return R_FAILED;
	}
	*json = json_loadb((const char *)quoted.data, quoted.len,
			   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!*json) {
		warn("%s: line %d, column %d: %s", name, error.line, error.column, error.text);
		result = R_FAILED;
	}
	wire_buffer_free(&quoted);
	return result;
}

/* The next character of UTF-8, which jansson has checked. */
static uint32_t next_character(const unsigned char **at)
{
	uint32_t c = *(*at)++;
	int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

	if (more)
		c &= 0x3fu >> more;
	while (more-- > 0)
		c = c << 6 | (*(*at)++ & 0x3f);
	return c;
}

static void print_character(uint32_t c, FILE *file)
{
	static const char letters[] = "\"\"\\\\\nn\rr\tt\ff\bb";
	const char *at = c && c < 128 ? strchr(letters, (int)c) : NULL;

	/* Pairs: the character and what stands for it; letters that stand for one are none. */
	if (at && (at - letters) % 2 == 0)
		fprintf(file, "\\%c", at[1]);
	else if (c >= 0x20 && c < 0x80)
		fputc((int)c, file);
	else if (c < 0x10000)
		fprintf(file, "\\u%04x", c);
	else
		fprintf(file, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
}

static void print_string(const char *text, size_t len, FILE *file)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + len;

	fputc('"', file);
	while (at < end)
		print_character(next_character(&at), file);
	fputc('"', file);
}

/* Between two members, or before the first and behind the last one. */
static void print_gap(bool pretty, size_t depth, bool between, FILE *file)
{
	if (between)
		fputs(pretty ? "," : ", ", file);
	if (pretty)
		fprintf(file, "\n%*s", (int)(4 * depth), "");
}

static int print_value(const json_t *json, bool pretty, size_t depth, FILE *file)
{
	const json_t *value;
	const char *key;
	size_t i;
	bool first = true;

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		value = json_object_get(json, "");
		if (value && json_object_size(json) == 1 && json_is_string(value)) {
			fputs(json_string_value(value), file);
			break;
		}
		fputc('{', file);
		json_object_foreach((json_t *)json, key, value)
		{
			print_gap(pretty, depth + 1, !first, file);
			first = false;
			print_string(key, strlen(key), file);
			fputs(": ", file);
			print_value(value, pretty, depth + 1, file);
		}
		if (!first)
			print_gap(pretty, depth, false, file);
		fputc('}', file);
		break;
	case JSON_ARRAY:
		fputc('[', file);
		json_array_foreach((json_t *)json, i, value)
		{
			print_gap(pretty, depth + 1, i > 0, file);
			print_value(value, pretty, depth + 1, file);
		}
		if (json_array_size(json) > 0)
			print_gap(pretty, depth, false, file);
		fputc(']', file);
		break;
	case JSON_STRING:
		print_string(json_string_value(json), json_string_length(json), file);
		break;
	default:
		return json_dumpf(json, file, JSON_ENCODE_ANY);
	}
	return ferror(file) ? -1 : 0;
}

int image_json_print(const json_t *json, bool pretty, FILE *file)
{
	if (print_value(json, pretty, 0, file) == 0 && !ferror(file))
		return R_OK;
	warn_errno("cannot write JSON");
	return R_FAILED;
}
