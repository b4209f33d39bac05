/* The places a search found, and in which generations. */
#ifndef SNAP_ENGINE_LOOK_PLACES_H
#define SNAP_ENGINE_LOOK_PLACES_H

#include "engine/look/scanned.h"
#include "engine/look/search.h"

struct places;

/* NULL: out of memory, reported. */
struct places *places_new(void);
void places_free(struct places *places);

/* One hit at one place in one generation.  The texts are copied, each once.  R_OK or R_FAILED. */
int places_add(struct places *places, const struct look_match *place, uint64_t generation,
	       size_t hit);

/* Tells of all, the same bytes at the same place as one; at most `limit`. */
int places_tell(struct places *places, const struct scanned *scanned, uint64_t limit,
		int (*fn)(const struct look_match *match, void *arg), void *arg,
		struct look_search_result *result);

#endif
