#include "store/page_set.h"

#include "base/result.h"
#include "base/warn.h"

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

bool page_set_has(const struct page_set *set, page_no number)
{
	size_t piece = number / PIECE_NUMBERS;

	return piece < set->n_pieces && set->pieces[piece] &&
	       set->pieces[piece][number % PIECE_NUMBERS / 64] >> number % 64 & 1;
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
