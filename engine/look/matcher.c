#include "engine/look/matcher.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/regex_length.h"

/* Against patterns that try every way to match (the work of one call, in PCRE2's own units). */
#define MATCH_LIMIT 10000000

/* What is searched without much preparation. */
#define SHORT_BYTES 512u

struct matcher {
	uint8_t *bytes; /* plain ones; NULL: a regular expression */
	size_t len;
	size_t longest; /* match; 0: not known */
	bool twin;	/* bytes and code are another's */
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

/* What matching writes to: each thread has its own. */
static int make_room(struct matcher *m)
{
	m->data = pcre2_match_data_create_from_pattern(m->code, NULL);
	m->context = pcre2_match_context_create(NULL);
	if (!m->data || !m->context)
		return out_of_memory();
	pcre2_set_match_limit(m->context, MATCH_LIMIT);
	return R_OK;
}

static int compile(struct matcher *m, const char *pattern, size_t len, uint32_t flags)
{
	PCRE2_UCHAR text[256];
	PCRE2_SIZE at;
	int error;

	m->code = pcre2_compile((PCRE2_SPTR)pattern, len, flags, &error, &at, NULL);
	if (!m->code) {
		pcre2_get_error_message(error, text, sizeof(text));
		warn("the pattern makes no sense at its character %zu: %s", (size_t)at + 1,
		     (const char *)text);
		return R_FAILED;
	}
	/* Without it matching is slower, no more. */
	pcre2_jit_compile(m->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
	return make_room(m);
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* Into plain bytes, or into a regular expression if some are unknown. */
static int read_hex(struct matcher *m, const char *text)
{
	size_t room = 4 * strlen(text) + 1, used = 0, n = 0;
	char *expression = malloc(room);
	uint8_t *bytes = malloc(strlen(text) + 1);
	bool unknown = false;
	int rc = R_OK;

	if (!expression || !bytes)
		rc = out_of_memory();
	while (rc == R_OK && *text) {
		if (isspace((unsigned char)*text)) {
			text++;
			continue;
		}
		if (text[0] == '?' && text[1] == '?') {
			unknown = true;
			expression[used++] = '.';
		} else if (isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1])) {
			bytes[n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
			used += (size_t)sprintf(expression + used, "\\x%02x", bytes[n - 1]);
		} else {
			warn("\"%s\" is not hexadecimal: two digits a byte, or ?? for any byte",
			     text);
			rc = R_FAILED;
		}
		text += 2;
		m->longest++;
	}
	if (rc == R_OK && unknown)
		rc = compile(m, expression, used, PCRE2_DOTALL);
	if (rc == R_OK && !unknown) {
		m->bytes = bytes;
		m->len = n;
		bytes = NULL;
	}
	free(expression);
	free(bytes);
	return rc;
}

static int read_pattern(struct matcher *m, enum matcher_kind kind, const char *pattern,
			bool ignore_case)
{
	/* \C, half a character, is of no use on bytes; that is no option of literal patterns. */
	uint32_t flags = ignore_case ? PCRE2_CASELESS : 0;

	if (kind == MATCH_HEX)
		return read_hex(m, pattern);
	if (kind == MATCH_REGEX) {
		m->longest = regex_longest(pattern);
		return compile(m, pattern, strlen(pattern), flags | PCRE2_NEVER_BACKSLASH_C);
	}
	m->longest = strlen(pattern);
	if (ignore_case)
		return compile(m, pattern, strlen(pattern), flags | PCRE2_LITERAL);
	m->len = strlen(pattern);
	m->bytes = (uint8_t *)strdup(pattern);
	return m->bytes ? R_OK : out_of_memory();
}

int matcher_new(enum matcher_kind kind, const char *pattern, bool ignore_case, struct matcher **out)
{
	struct matcher *m = calloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (!m)
		return out_of_memory();
	rc = read_pattern(m, kind, pattern, ignore_case);
	if (rc == R_OK && m->bytes && (m->len == 0 || m->len > MATCH_BORDER_BYTES)) {
		warn("a pattern has 1 to %d bytes, this one %zu", MATCH_BORDER_BYTES, m->len);
		rc = R_FAILED;
	}
	if (rc != R_OK) {
		matcher_free(m);
		return rc;
	}
	*out = m;
	return R_OK;
}

void matcher_free(struct matcher *m)
{
	if (!m)
		return;
	pcre2_match_context_free(m->context);
	pcre2_match_data_free(m->data);
	if (!m->twin) {
		pcre2_code_free(m->code);
		free(m->bytes);
	}
	free(m);
}

struct matcher *matcher_twin(const struct matcher *m)
{
	struct matcher *twin = calloc(1, sizeof(*twin));

	if (!twin) {
		warn("out of memory");
		return NULL;
	}
	*twin = (struct matcher){ .bytes = m->bytes,
				  .len = m->len,
				  .longest = m->longest,
				  .twin = true,
				  .code = m->code };
	if (twin->bytes || make_room(twin) == R_OK)
		return twin;
	matcher_free(twin);
	return NULL;
}

/* memmem() prepares itself for the pattern each time, which a few bytes are not worth. */
static const uint8_t *find_bytes(const struct matcher *m, const uint8_t *data, size_t len)
{
	const uint8_t *at = data, *end = data + len;
	uint8_t last = m->bytes[m->len - 1];

	if (len >= SHORT_BYTES)
		return memmem(data, len, m->bytes, m->len);
	while ((size_t)(end - at) >= m->len) {
		at = memchr(at, m->bytes[0], (size_t)(end - at) - m->len + 1);
		if (!at)
			return NULL;
		if (at[m->len - 1] == last && memcmp(at, m->bytes, m->len) == 0)
			return at;
		at++;
	}
	return NULL;
}

bool matcher_find(struct matcher *m, const uint8_t *data, size_t len, size_t from, size_t *start,
		  size_t *end)
{
	const PCRE2_SIZE *pair;

	if (from >= len)
		return false;
	if (m->bytes) {
		const uint8_t *at = find_bytes(m, data + from, len - from);

		if (!at)
			return false;
		*start = (size_t)(at - data);
		*end = *start + m->len;
		return true;
	}
	if (pcre2_match(m->code, data, len, from, PCRE2_NOTEMPTY, m->data, m->context) < 0)
		return false;
	pair = pcre2_get_ovector_pointer(m->data);
	*start = pair[0];
	*end = pair[1];
	/* \K may set the start behind the end. */
	return *start < *end;
}

/* Do the bytes end with a beginning of the pattern? */
static bool has_beginning(const struct matcher *m, const uint8_t *data, size_t len)
{
	size_t tail = len < m->len ? len : m->len - 1;
	const uint8_t *end = data + len, *at = end - tail;

	for (; (at = memchr(at, m->bytes[0], (size_t)(end - at))); at++)
		if (memcmp(at, m->bytes, (size_t)(end - at)) == 0)
			return true;
	return false;
}

bool matcher_open(struct matcher *m, const uint8_t *data, size_t len)
{
	const PCRE2_SIZE *pair;
	size_t from = 0;
	int rc;

	if (m->bytes)
		return has_beginning(m, data, len);
	while (from < len) {
		rc = pcre2_match(m->code, data, len, from, PCRE2_NOTEMPTY | PCRE2_PARTIAL_HARD,
				 m->data, m->context);
		if (rc < 0)
			/* Too much work to tell counts as one that could. */
			return rc != PCRE2_ERROR_NOMATCH;
		pair = pcre2_get_ovector_pointer(m->data);
		if (pair[1] <= from)
			return true;
		/* Which matches there were before is not known from the last few bytes. */
		from = m->longest ? pair[0] + 1 : pair[1];
	}
	return false;
}

size_t matcher_reach(const struct matcher *m)
{
	return m->bytes ? m->len : MATCH_BORDER_BYTES;
}

size_t matcher_longest(const struct matcher *m)
{
	return m->longest;
}
