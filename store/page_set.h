/* Sets of page numbers: one bit each, in pieces that exist only where a number was added. */
#ifndef SNAP_STORE_PAGE_SET_H
#define SNAP_STORE_PAGE_SET_H

#include "store/format.h"

struct page_set {
	uint64_t **pieces;
	size_t n_pieces;
};

/* Adds a number; `*added` (may be NULL) tells whether it was new.  R_OK or R_FAILED (no memory). */
int page_set_add(struct page_set *set, page_no number, bool *added);
void page_set_remove(struct page_set *set, page_no number);
bool page_set_has(const struct page_set *set, page_no number);

/* How many of the numbers first .. last the set has. */
uint64_t page_set_count(const struct page_set *set, page_no first, page_no last);

/* A checksum (with the store's secret) of which of the numbers first .. last the set has. */
uint64_t page_set_digest(const struct page_set *set, page_no first, page_no last,
			 const uint8_t *secret);

/* The least number of the set from `from` up to `last`; PAGE_ABSENT if there is none. */
page_no page_set_next(const struct page_set *set, page_no from, page_no last);

/* Frees what the set holds; it is empty then. */
void page_set_clear(struct page_set *set);

/*
 * The nodes and pages a walk over many trees has come by.  Nodes are remembered by level: the same
 * bytes, and so the same number, may be a node at one place and a plain page, or a node of another
 * level, at another.
 */
struct visited {
	struct page_set pages; /* nodes too */
	struct page_set nodes[TREE_HEIGHT_MAX + 1];
	bool failed; /* out of memory, reported; the sets are not complete */
};

/* Notes a node; true if it had not been visited at this level. */
bool visited_node(struct visited *visited, page_no number, unsigned int level);
void visited_clear(struct visited *visited);

#endif
