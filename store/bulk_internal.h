/* What the two ways of reading many pages share: into a buffer, and to be looked at in passing. */
#ifndef SNAP_STORE_BULK_INTERNAL_H
#define SNAP_STORE_BULK_INTERNAL_H

#include "base/crew.h"
#include "store/segment_cache.h"

#include <stddef.h>

/* A round ends with the first page behind one of these. */
#define ROUND_BYTES ((size_t)16 << 20) /* of clusters that had to be unpacked */
#define ROUND_PAGES 4096u
#define ROUND_LINKS (ROUND_PAGES * 4)
#define BUCKETS 1024u

struct wanted {
	page_no number;
	size_t at; /* among what the caller asked for */
};

/* A cluster of this round. */
struct part {
	struct cluster_place place;
	struct cluster *cluster;
	uint8_t *to; /* all of it is wanted there, and nowhere else; or NULL */
	bool own;    /* unpacked in this round, not in the cache yet */
	int result;
	uint32_t chained; /* 1 + the next one in the same bucket */
	uint32_t n_links; /* to it */
	/* For a caller who is alone: how many of bulk->steps are its, and where they end. */
	uint32_t n_steps, end;
};

/* In order of number, in which a page comes before what differs from it. */
static inline bool part_is_before(const struct part *a, const struct part *b)
{
	return a->place.first != b->place.first ? a->place.first < b->place.first
						: a->place.index < b->place.index;
}

/* What a cluster does for a page. */
struct step {
	uint32_t part;
	uint16_t page, at;
};

/* One page of a chain: where it lies. */
struct link {
	uint32_t part;
	uint16_t at;
};

struct page_plan {
	page_no number, base; /* base: PAGE_ABSENT of a full page */
	uint32_t first, n;    /* links, from the page itself down to a full one or to its parent */
	uint32_t parent;      /* 1 + the page of the round that the last link differs from, or 0 */
	uint32_t depth;	      /* pages it is made of, itself among them */
	size_t at;	      /* as wanted */
	uint8_t hash[HASH_BYTES];
	int result;
};

struct bulk {
	struct crew *crew;
	bool alone; /* the crew is the caller, who unpacks clusters when they are needed */
	struct unpacker *unpackers[CREW_MAX];
	const uint8_t *secret;
	uint8_t *to;		   /* where pages go, */
	struct visiting *visit;	   /* or, if not NULL, to whom */
	struct visiting *visiting; /* once there was one, kept */
	size_t n_pages, n_links, n_parts, n_steps, bytes, round_bytes;
	struct page_plan pages[ROUND_PAGES];
	struct link links[ROUND_LINKS + CHAIN_MAX + 1];
	struct part parts[ROUND_LINKS + CHAIN_MAX + 1];
	uint32_t buckets[BUCKETS];		      /* 1 + a part */
	uint32_t sorted[ROUND_LINKS + CHAIN_MAX + 1]; /* parts, in order of number */
	struct step steps[ROUND_LINKS + CHAIN_MAX + 1];
};

struct visiting;

/* Reads what is wanted, in ascending order of number, to where bulk->to or bulk->visit says.  R_OK
 * or R_FAILED; `*bad` becomes the place of a damaged page if that is lower. */
int bulk_run(struct store_view *view, const struct wanted *wanted, size_t n, size_t *bad);

/* What a view reads many pages with.  NULL: out of memory, reported. */
struct bulk *bulk_of(struct store_view *view);

/* All but the reserved numbers, sorted.  NULL: out of memory, reported. */
struct wanted *bulk_wanted(const page_no *numbers, size_t n, bool sort, size_t *n_wanted);

/* The first place of what is sorted by a number, which each begins with (`size` bytes each), that
 * has this one; SIZE_MAX: none has. */
size_t bulk_find(const void *sorted, size_t n, size_t size, page_no number);
_Static_assert(offsetof(struct wanted, number) == 0 && offsetof(struct page_plan, number) == 0,
	       "they begin with the number");

/* Finds out where a page and its bases lie; where those that visit pages have its base at hand,
 * that is the page alone.  R_BUSY: not in this round. */
int bulk_plan_page(struct store_view *view, const struct wanted *wanted);

/*
 * What tells of the pages that come after place `i` of `n`, and of their bases, comes to the
 * processor while it plans others.  To be called for each place in turn, from 0 on, before it
 * is planned.
 */
void bulk_plan_ahead(struct segment_cache *cache, const struct wanted *wanted, size_t n, size_t i);

/* For a caller who is alone, once all of the round is planned: clusters that can be unpacked to
 * where their pages are wanted will be, which saves copying them. */
void bulk_plan_places(struct bulk *bulk);

/* Makes the pages of a round for a caller who is alone. */
void bulk_make_alone(struct store_view *view);

/* Makes the page at `to`: of its whole chain, or, if it has a parent, of that one's bytes.  R_OK;
 * R_DAMAGED: something of it cannot be had; R_FAILED. */
int bulk_assemble(struct bulk *bulk, const struct page_plan *page, const uint8_t *parent,
		  uint8_t *to);
/* Has it the hash it should have?  R_OK or R_DAMAGED. */
int bulk_check(const struct bulk *bulk, const struct page_plan *page, const uint8_t *bytes);

/* Has what a page is made of on its way to the processor: it lies here and there in many MiB. */
void bulk_fetch_ahead(const struct bulk *bulk, const struct page_plan *page);

/* The pages of a round, or one that was read by itself, to bulk->visit. */
void bulk_visit_round(struct bulk *bulk);
void bulk_visiting_free(struct visiting *visiting);
void bulk_visit_one(struct bulk *bulk, const struct wanted *wanted, const uint8_t *bytes);

#endif
