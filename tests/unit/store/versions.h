/* Generations of one object whose pages change a little each time, and reading them back. */
#ifndef SNAP_TESTS_UNIT_STORE_VERSIONS_H
#define SNAP_TESTS_UNIT_STORE_VERSIONS_H

#include "scratch.h"

#include <sys/types.h>

#define VERSION_PAGES 700
#define VERSION_FIRST 1000ull

/* What the pages are like; a test that changes it puts it back. */
struct versions {
	uint64_t words;	  /* of each that changes: too many to be written again with others */
	uint64_t pages;	  /* of a generation */
	uint64_t renewed; /* of so many one is another each time, */
	uint64_t behind;  /* every other of these as it was so much earlier */
};
extern struct versions versions;

/* Page `i` as it is at `time`: every third changes each time, every 31st altogether. */
void page_at(uint64_t time, uint64_t i, uint64_t *page);

/* Takes a generation of them as the object "pages-1", from index VERSION_FIRST on.  R_OK, or what
 * the commit gave; asserts all else. */
int put_at(struct store *store, const char *lineage, uint64_t time, struct generation *gen);

/* What reading a generation back has seen. */
struct reading {
	struct store_view *view;
	uint64_t time, n, damaged;
	uint32_t deepest;
	uint64_t deltas;
	unsigned int codecs; /* bit 1 << codec of each cluster that one of the pages lies in */
};

/* Reads the whole generation and compares it with what `time` was; damaged pages are counted. */
struct reading read_back(struct store *store, uint64_t generation, uint64_t time);

/* Numbers of pages, and their indexes less VERSION_FIRST. */
struct numbers {
	page_no list[3 * VERSION_PAGES];
	uint64_t index[3 * VERSION_PAGES];
	size_t n;
};

/* Adds those of a generation; asserts. */
void gather(struct store *store, uint64_t generation, struct numbers *all);

/* Reads the first `n` by one of so many readers: as one of several it is alone, and does all by
 * itself. */
int read_as_one_of(struct store *store, unsigned int readers, const struct numbers *all, size_t n,
		   uint8_t *pages, page_no *bad);

/* Writes `len` (at most 4096) other bytes into a pack; asserts. */
void damage_pack(const char *dir, unsigned int pack, off_t from, size_t len);

#endif
