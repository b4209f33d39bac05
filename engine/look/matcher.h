/* What is searched for: bytes, or a regular expression over bytes. */
#ifndef SNAP_ENGINE_LOOK_MATCHER_H
#define SNAP_ENGINE_LOOK_MATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum matcher_kind {
	MATCH_STRING, /* the pattern's bytes */
	MATCH_HEX,    /* "de ad be ef", blanks are free, "??" is any byte */
	MATCH_REGEX,  /* Perl's syntax (PCRE2), on bytes */
};

/* The longest match that may lie across the border of two pages. */
#define MATCH_BORDER_BYTES 1024

struct matcher;

/* R_OK, or R_FAILED with what is wrong with the pattern reported. */
int matcher_new(enum matcher_kind kind, const char *pattern, bool ignore_case,
		struct matcher **matcher);
void matcher_free(struct matcher *matcher);

/* One that finds the same, for another thread; to be freed before the first.  NULL: out of memory,
 * reported. */
struct matcher *matcher_twin(const struct matcher *matcher);

/*
 * The first match that begins at `from` or behind: bytes [start, end) of `data`, never empty.
 * False: there is none.  Not for several threads at once.
 */
bool matcher_find(struct matcher *matcher, const uint8_t *data, size_t len, size_t from,
		  size_t *start, size_t *end);

/* Could a match begin in these bytes, which are the last of a page, and go on behind them?  Where
 * the longest match is known its length less one is enough of them. */
bool matcher_open(struct matcher *matcher, const uint8_t *data, size_t len);

/* How many bytes of a match may lie across a border: of a string its length, otherwise
 * MATCH_BORDER_BYTES. */
size_t matcher_reach(const struct matcher *matcher);

/*
 * How many bytes a match has at most, if whether bytes match depends on nothing but these bytes;
 * 0: that is not known.  Then a match can only have come into being where one of its bytes changed.
 */
size_t matcher_longest(const struct matcher *matcher);

#endif
