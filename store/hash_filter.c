#include "store/hash_filter.h"

#include <stdlib.h>

#define PREFIX_BITS 48
#define LINE_WORDS 8u /* 512 bits: what one look-up touches */
#define PLACE_BITS 9

struct hash_filter {
	uint64_t *words;
	uint64_t lines;
	unsigned int places; /* bits set for each entry */
};

struct hash_filter *hash_filter_new(uint64_t entries)
{
	struct hash_filter *new;
	uint64_t bytes = entries < FILTER_BYTES_MAX ? entries : FILTER_BYTES_MAX;

	/* With fewer bits than entries it would say of nearly all that they may be there. */
	if (entries > bytes * 8)
		return NULL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return NULL;
	new->lines = bytes / (LINE_WORDS * sizeof(uint64_t)) + 1;
	/* 0.7 times the bits there are for each entry tells most, but more than 3 hardly more. */
	new->places = bytes * 8 >= entries * 4 ? 3 : bytes * 8 >= entries * 2 ? 2 : 1;
	new->words = calloc(new->lines, LINE_WORDS * sizeof(uint64_t));
	if (new->words)
		return new;
	free(new);
	return NULL;
}

void hash_filter_free(struct hash_filter *filter)
{
	if (!filter)
		return;
	free(filter->words);
	free(filter);
}

/* The line goes by the high bits of the prefix, the places in it by the low ones. */
static uint64_t *line_of(const struct hash_filter *filter, uint64_t prefix)
{
	uint64_t high = prefix >> (PREFIX_BITS - 32);

	return filter->words + (high * filter->lines >> 32) * LINE_WORDS;
}

static unsigned int place_of(uint64_t prefix, unsigned int i)
{
	return prefix >> i * PLACE_BITS & ((1u << PLACE_BITS) - 1);
}

void hash_filter_add(struct hash_filter *filter, uint64_t prefix)
{
	uint64_t *line = line_of(filter, prefix);

	for (unsigned int i = 0; i < filter->places; i++) {
		unsigned int place = place_of(prefix, i);

		line[place / 64] |= UINT64_C(1) << place % 64;
	}
}

bool hash_filter_may_have(const struct hash_filter *filter, uint64_t prefix)
{
	const uint64_t *line = line_of(filter, prefix);

	for (unsigned int i = 0; i < filter->places; i++) {
		unsigned int place = place_of(prefix, i);

		if (!(line[place / 64] >> place % 64 & 1))
			return false;
	}
	return true;
}
