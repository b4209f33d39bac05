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

/* What was found in a page of the batch, by its worker. */
enum page_state {
	PAGE_HITS = 1,	  /* there are matches within it */
	PAGE_OPEN = 2,	  /* one could go on behind it */
	PAGE_DAMAGED = 4, /* it could not be read */
};

/* A hit, still to be noted. */
struct page_hit {
	size_t at; /* in the batch */
	struct scanned_hit hit;
};

/* What one thread looks with (search_page.c). */
struct page_worker {
	struct matcher *matcher;
	struct page_hit *hits;
	size_t n_hits, room;
	bool failed; /* out of memory, reported */
	bool full;   /* there would be more hits than are kept */
};

/* Hits kept: 96 bytes each, and some 130 for the places made of them and for sorting these. Whoever
 * looks for what is found more often gets the first ones. */
#define HITS_MAX (1u << 17)

#define BATCH_PAGES 4096

/* Reading pages and borders that nobody has looked at (search_scan.c). */
struct scanner {
	struct store_view *view;
	struct matcher *matcher;
	struct scanned *scanned;
	const char *object; /* in messages */
	uint64_t pages_read, pages_damaged;
	bool limited; /* there were more hits than are kept: nothing more is to be looked at */
	struct sealed *sealed; /* the object is sealed, and revealed; otherwise NULL */

	size_t n_wanted; /* pages of the batch */
	page_no wanted[BATCH_PAGES];
	uint64_t indexes[BATCH_PAGES];	 /* in the object, of these */
	uint16_t known[2 * BATCH_PAGES]; /* 1 + where a number is in the batch; 0: free */
	uint8_t states[BATCH_PAGES];
	size_t edge;		  /* bytes on each side of a border that are looked at */
	uint8_t *heads, *tails;	  /* of the pages of the batch; tails of open ones only */
	uint8_t page[PAGE_BYTES]; /* one that is read by itself */
	struct page_worker workers[STORE_WORKERS_MAX];
};

/* NULL: out of memory, reported. */
struct scanner *scanner_new(struct store_view *view, struct matcher *matcher,
			    struct scanned *scanned);
void scanner_free(struct scanner *scanner);

/*
 * Looks at all new pages of these leaves and all new borders between them: leaves[i], if not NULL,
 * is what stands at `index` in track i.  Pages that are damaged are reported, counted, and passed
 * over.  R_OK, R_FAILED.
 */
int scanner_look(struct scanner *scanner, const struct track *tracks, size_t n, uint64_t index,
		 const page_no *const *leaves);

/* Looks at one page of the batch; what it finds it leaves with the worker and in the state.
 * `arg` is the scanner. */
void scanner_page(const struct store_visited *visited, void *arg);

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

/* Were there more hits than are kept? */
bool placer_limited(const struct placer *placer);

/* Finds out what is mapped where the hits are, and adds them to the places.  R_OK; R_DAMAGED: for
 * some that could not be found out, which was reported, so that they have no mapping; R_FAILED. */
int placer_finish(struct placer *placer, bool *limited);

#endif
