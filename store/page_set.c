#include "store/page_set.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/page.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_NUMBERS 65536u
#define PIECE_WORDS (PIECE_NUMBERS / 64)

static int grow(struct page_set *set, size_t piece)
{
	size_t n = set->n_pieces ? set->n_pieces : 64;
	uint64_t **more;

	while (n <= piece)
		n *= 2;
	more = realloc(set->pieces, n * sizeof(*more));
	if (!more) {
		warn("out of memory");
		return R_FAILED;
	}
	memset(more + set->n_pieces, 0, (n - set->n_pieces) * sizeof(*more));
	set->pieces = more;
	set->n_pieces = n;
	return R_OK;
}

int page_set_add(struct page_set *set, page_no number, bool *added)
{
	size_t piece = number / PIECE_NUMBERS;
	uint64_t bit = (uint64_t)1 << number % 64;
	uint64_t *word;

	if (piece >= set->n_pieces && grow(set, piece) != R_OK)
		return R_FAILED;
	if (!set->pieces[piece]) {
		set->pieces[piece] = calloc(PIECE_WORDS, sizeof(uint64_t));
		if (!set->pieces[piece]) {
			warn("out of memory");
			return R_FAILED;
		}
	}
	word = &set->pieces[piece][number % PIECE_NUMBERS / 64];
	if (added)
		*added = !(*word & bit);
	*word |= bit;
	return R_OK;
}

void page_set_remove(struct page_set *set, page_no number)
{
	size_t piece = number / PIECE_NUMBERS;

	if (piece < set->n_pieces && set->pieces[piece])
		set->pieces[piece][number % PIECE_NUMBERS / 64] &= ~((uint64_t)1 << number % 64);
}

bool page_set_has(const struct page_set *set, page_no number)
{
	size_t piece = number / PIECE_NUMBERS;

	return piece < set->n_pieces && set->pieces[piece] &&
	       set->pieces[piece][number % PIECE_NUMBERS / 64] >> number % 64 & 1;
}

/* The word that has number `at`, with only the bits of first .. last; 0 where there is none. */
static uint64_t word_at(const struct page_set *set, page_no at, page_no first, page_no last)
{
	size_t piece = at / PIECE_NUMBERS;
	page_no base = at - at % 64;
	uint64_t word;

	if (piece >= set->n_pieces || !set->pieces[piece])
		return 0;
	word = set->pieces[piece][at % PIECE_NUMBERS / 64];
	if (base < first)
		word &= ~(uint64_t)0 << (first - base);
	if (last - base < 63)
		word &= ~(uint64_t)0 >> (63 - (last - base));
	return word;
}

/* The first number of the word behind that of `at`, or of the piece behind its own if that is not
 * there; the greatest of all, which nobody ever gets, if there is no more. */
static page_no step(const struct page_set *set, page_no at)
{
	size_t piece = at / PIECE_NUMBERS;

	if (piece >= set->n_pieces)
		return UINT64_MAX;
	if (!set->pieces[piece])
		return at - at % PIECE_NUMBERS + PIECE_NUMBERS;
	return at - at % 64 + 64;
}

uint64_t page_set_count(const struct page_set *set, page_no first, page_no last)
{
	uint64_t n = 0;

	for (page_no at = first; at <= last && at < UINT64_MAX; at = step(set, at))
		n += (uint64_t)__builtin_popcountll(word_at(set, at, first, last));
	return n;
}

uint64_t page_set_digest(const struct page_set *set, page_no first, page_no last,
			 const uint8_t *secret)
{
	/* Chained over the words that have bits, each with its place. */
	uint8_t chain[24] = { 0 };

	for (page_no at = first; at <= last && at < UINT64_MAX; at = step(set, at)) {
		uint64_t word = word_at(set, at, first, last);

		if (!word)
			continue;
		put_le64(chain + 8, at / 64);
		put_le64(chain + 16, word);
		put_le64(chain, segment_checksum(secret, chain, sizeof(chain)));
	}
	return get_le64(chain);
}

page_no page_set_next(const struct page_set *set, page_no from, page_no last)
{
	for (page_no at = from; at <= last && at < UINT64_MAX; at = step(set, at)) {
		uint64_t word = word_at(set, at, from, last);

		if (word)
			return at - at % 64 + (page_no)__builtin_ctzll(word);
	}
	return PAGE_ABSENT;
}

void page_set_clear(struct page_set *set)
{
	for (size_t i = 0; i < set->n_pieces; i++)
		free(set->pieces[i]);
	free(set->pieces);
	memset(set, 0, sizeof(*set));
}

bool visited_node(struct visited *visited, page_no number, unsigned int level)
{
	bool added = false;

	if (page_set_add(&visited->pages, number, NULL) != R_OK ||
	    page_set_add(&visited->nodes[level], number, &added) != R_OK)
		visited->failed = true;
	return added;
}

void visited_clear(struct visited *visited)
{
	page_set_clear(&visited->pages);
	for (size_t i = 0; i <= TREE_HEIGHT_MAX; i++)
		page_set_clear(&visited->nodes[i]);
	visited->failed = false;
}
