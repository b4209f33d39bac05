/*
 * Generations made up from numbers, for tests of loss: what step S of lineage SEED holds is a
 * function of both, so that nothing has to be kept to know it.  From one step to the next 7 % of
 * the pages change, and each only in part, as in a living program.
 */
#ifndef SNAP_TESTS_LOSS_CONTENT_H
#define SNAP_TESTS_LOSS_CONTENT_H

#include "dedup/dedup.h"

#define CONTENT_HASH_BYTES 16

struct content {
	uint64_t seed, step;
	size_t pages; /* of its address space */
};

/* Makes it a generation of `lineage`.  R_OK, or what failed. */
int content_take(struct store *store, const char *lineage, const struct content *content,
		 struct generation *gen);

/* The hash of all names, lengths, places and bytes, computed without a store. */
void content_hash(const struct content *content, uint8_t hash[CONTENT_HASH_BYTES]);

/* The same of a stored generation, by reading all of it.  R_OK, R_NOT_FOUND, R_DAMAGED or
 * R_FAILED. */
int content_hash_stored(struct store_view *view, uint64_t generation,
			uint8_t hash[CONTENT_HASH_BYTES]);

#endif
