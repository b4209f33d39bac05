/* What is not understood here is of no known length; that only costs time. */
#include "engine/look/regex_length.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define NESTING_MAX 50u

/* `failed`: something that is not known here. */
struct reader {
	const char *at;
	unsigned int depth;
	bool failed;
};

static size_t read_choice(struct reader *r);

static size_t fail(struct reader *r)
{
	r->failed = true;
	return 0;
}

/* Behind the backslash: all that stand for one byte, whatever is around it. */
static size_t read_escape(struct reader *r)
{
	char c = *r->at++;

	if (!c)
		return fail(r);
	if (c == 'x') {
		if (!isxdigit((unsigned char)r->at[0]) || !isxdigit((unsigned char)r->at[1]))
			return fail(r);
		r->at += 2;
		return 1;
	}
	if (isalnum((unsigned char)c) && !strchr("dDwWsShHvVNnrtfea", c))
		return fail(r);
	return 1;
}

/* Behind the bracket. */
static size_t read_class(struct reader *r)
{
	r->at += *r->at == '^';
	/* One that comes first is a character. */
	r->at += *r->at == ']';
	while (!r->failed && *r->at != ']') {
		if (!*r->at || (r->at[0] == '[' && strchr(":.=", r->at[1])))
			return fail(r);
		if (*r->at++ == '\\')
			read_escape(r);
	}
	r->at += !r->failed;
	return 1;
}

/* Behind the parenthesis. */
static size_t read_group(struct reader *r)
{
	size_t longest;

	if (*r->at == '*' || (*r->at == '?' && r->at[1] != ':'))
		return fail(r);
	if (*r->at == '?')
		r->at += 2;
	if (++r->depth > NESTING_MAX)
		return fail(r);
	longest = read_choice(r);
	r->depth--;
	if (*r->at != ')')
		return fail(r);
	r->at++;
	return longest;
}

static size_t read_atom(struct reader *r)
{
	char c = *r->at++;

	switch (c) {
	case '\\':
		return read_escape(r);
	case '[':
		return read_class(r);
	case '(':
		return read_group(r);
	case '^':
	case '$':
	case '*':
	case '+':
	case '?':
	case '{':
		return fail(r);
	default:
		return 1;
	}
}

static size_t read_number(struct reader *r)
{
	size_t n = 0;

	if (!isdigit((unsigned char)*r->at))
		return fail(r);
	for (; isdigit((unsigned char)*r->at); r->at++)
		n = n <= REGEX_LONGEST_MAX ? 10 * n + (size_t)(*r->at - '0') : n;
	return n;
}

/* How often at most, as told behind an atom. */
static size_t read_times(struct reader *r)
{
	size_t most;

	if (*r->at == '?') {
		most = 1;
		r->at++;
	} else if (*r->at == '{') {
		r->at++;
		most = read_number(r);
		if (*r->at == ',') {
			r->at++;
			most = read_number(r);
		}
		if (*r->at != '}')
			return fail(r);
		r->at++;
	} else {
		return 1;
	}
	/* As few as possible is as many at most; as many as possible for ever is another thing. */
	if (*r->at == '+')
		return fail(r);
	r->at += *r->at == '?';
	return most;
}

static size_t read_sequence(struct reader *r)
{
	size_t longest = 0;

	while (!r->failed && *r->at && *r->at != '|' && *r->at != ')') {
		size_t one = read_atom(r);

		if (!r->failed)
			longest += one * read_times(r);
		if (longest > REGEX_LONGEST_MAX)
			return fail(r);
	}
	return longest;
}

static size_t read_choice(struct reader *r)
{
	size_t longest = read_sequence(r);

	while (!r->failed && *r->at == '|') {
		size_t other;

		r->at++;
		other = read_sequence(r);
		longest = other > longest ? other : longest;
	}
	return longest;
}

size_t regex_longest(const char *pattern)
{
	struct reader r = { .at = pattern };
	size_t longest = read_choice(&r);

	return r.failed || *r.at ? 0 : longest;
}
