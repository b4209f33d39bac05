#include "cli/tree_text.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"

static bool is_plain(const json_t *value)
{
	return !json_is_array(value) && !json_is_object(value);
}

static bool is_duration(const char *key)
{
	size_t len = strlen(key);

	return len > 3 && strcmp(key + len - 3, "_ns") == 0;
}

/* Does it count bytes? */
static bool is_size(const char *key)
{
	size_t len = strlen(key);

	return strncmp(key, "bytes_", 6) == 0 || strcmp(key, "size") == 0 ||
	       (len > 7 && strcmp(key + len - 7, "_buffer") == 0);
}

/* A quantity of which there is nothing is not worth a word; what was asked for by name, as the size
 * of a file, is. */
static bool is_nothing(const char *key, json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) == 0 &&
	       (strncmp(key, "bytes_", 6) == 0 || is_duration(key));
}

/* "bytes_stored" is "stored", "frozen_ns" is "frozen": the units stand behind the numbers. */
static void print_key(const char *key)
{
	size_t len;

	key += strncmp(key, "bytes_", 6) == 0 ? 6 : 0;
	len = strlen(key) - (is_duration(key) ? 3 : 0);

	for (size_t i = 0; i < len; i++)
		putchar(key[i] == '_' ? ' ' : key[i]);
}

/* Nothing that came from a target may steer the terminal. */
void tree_text_string(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			printf("\\x%02x", (unsigned char)*text);
		else
			putchar(*text);
}

static void print_plain(const char *key, json_t *value)
{
	char text[WORDS_MAX];

	if (json_is_string(value))
		tree_text_string(json_string_value(value));
	else if (json_is_integer(value) && key && is_size(key))
		printf("%s", words_bytes(text, (uint64_t)json_integer_value(value)));
	else if (json_is_integer(value) && key && is_duration(key))
		printf("%s", words_duration(text, (uint64_t)json_integer_value(value)));
	else if (json_is_integer(value))
		printf("%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		printf("%.2f", json_real_value(value));
	else
		printf("%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
}

void tree_text_line(json_t *object)
{
	const char *key, *between = "";
	json_t *value;

	json_object_foreach(object, key, value)
	{
		/* An empty text is none: the name of a mapping that has no name. */
		if (!is_plain(value) || is_nothing(key, value) ||
		    (json_is_string(value) && !*json_string_value(value)))
			continue;
		printf("%s", between);
		print_key(key);
		putchar(' ');
		print_plain(key, value);
		between = ", ";
	}
}

static void branch(const char *indent, bool last)
{
	printf("%s%s", indent, last ? "└─ " : "├─ ");
}

static void below(const char *indent, bool last, json_t *value)
{
	char deeper[256];

	snprintf(deeper, sizeof(deeper), "%s%s", indent, last ? "   " : "│  ");
	tree_text(deeper, value);
}

static bool all_plain(json_t *array)
{
	json_t *value;
	size_t i;

	json_array_foreach(array, i, value) if (!is_plain(value)) return false;
	return true;
}

static void print_array(const char *indent, json_t *array)
{
	json_t *value;
	size_t i, n = json_array_size(array);

	json_array_foreach(array, i, value)
	{
		branch(indent, i + 1 == n);
		if (is_plain(value))
			print_plain(NULL, value);
		else
			tree_text_line(value);
		putchar('\n');
		if (!is_plain(value))
			below(indent, i + 1 == n, value);
	}
}

/* Plain values of an array in a line, as a command's words are. */
static void print_words(json_t *array)
{
	json_t *value;
	size_t i;

	json_array_foreach(array, i, value)
	{
		printf("%s", i ? " " : "");
		print_plain(NULL, value);
	}
}

/* Only what is not plain: the rest stands in the line above. */
void tree_text(const char *indent, json_t *value)
{
	const char *key;
	json_t *part;
	size_t left = 0;

	if (json_is_array(value)) {
		print_array(indent, value);
		return;
	}
	json_object_foreach(value, key, part) left += !is_plain(part);
	json_object_foreach(value, key, part)
	{
		bool words =
		    json_is_array(part) && all_plain(part) && (strcmp(key, "environment") != 0);

		if (is_plain(part))
			continue;
		left--;
		branch(indent, left == 0);
		print_key(key);
		if (words) {
			printf(": ");
			print_words(part);
		} else if (json_is_object(part)) {
			printf(": ");
			tree_text_line(part);
		}
		putchar('\n');
		if (!words)
			below(indent, left == 0, part);
	}
}
