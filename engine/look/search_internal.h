/* What the files of a search share. */
#ifndef SNAP_ENGINE_LOOK_SEARCH_INTERNAL_H
#define SNAP_ENGINE_LOOK_SEARCH_INTERNAL_H

#include "engine/look/places.h"
#include "engine/look/scanned.h"
#include "engine/look/search.h"
#include "store/seal.h"

#define LEAF_PAGES 512

/* An object of one generation, and how far it has been told of: hits in a page are told when it is
 * known what follows it. */
struct track {
	size_t gen; /* of the generations searched together */
	struct object object;
	uint64_t index; /* of the page that is still to be told of */
	page_no number; /* PAGE_ABSENT: there is none */
	uint64_t spill; /* bytes of it that a match across the border before it has taken */
};

/* Reading pages and borders that nobody has looked at (search_scan.c). */
struct scanner {
	struct store_view *view;
	struct matcher *matcher;
	struct scanned *scanned;
	const char *object; /* in messages */
	uint64_t pages_read;
	struct sealed *sealed; /* the object is sealed, and revealed; otherwise NULL */
	page_no *wanted;       /* pages, or pairs of pages */
	uint64_t *indexes;     /* in the object, of these */
	size_t n_wanted;
	uint8_t *data;
	uint8_t border[2 * MATCH_BORDER_BYTES];
};

int scanner_init(struct scanner *scanner, struct store_view *view, struct matcher *matcher,
		 struct scanned *scanned);
void scanner_free(struct scanner *scanner);

/*
 * Looks at all new pages of these leaves and all new borders between them: leaves[i], if not NULL,
 * is what stands at `index` in track i.  R_OK, R_DAMAGED (reported), R_FAILED.
 */
int scanner_look(struct scanner *scanner, const struct track *tracks, size_t n, uint64_t index,
		 const page_no *const *leaves);

/* Where hits are (search_place.c). */
struct placer;

/* Hits of generations `gens`, which stay, are to be added to `places`.  NULL: out of memory. */
struct placer *placer_new(struct store_view *view, const struct generation *gens,
			  struct scanned *scanned, struct places *places);
void placer_free(struct placer *placer);

/* Notes the hits of `track` that a leaf decides about; `object` is the name of all tracks and has
 * to stay.  With `leaf` NULL nothing more follows.  R_OK or R_FAILED. */
int placer_note(struct placer *placer, const char *object, struct track *track, uint64_t index,
		const page_no *leaf);

/* Finds out what is mapped where the hits are, and adds them to the places.  R_OK, R_DAMAGED
 * (reported), R_FAILED. */
int placer_finish(struct placer *placer, bool *limited);

#endif
