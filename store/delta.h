/*
 * A page as its difference to another: which of its 512 words of eight bytes differ, and these
 * words.  Programs change memory in place, so words stay where they are; what the differing words
 * of neighbouring pages have in common is left to the compression of their cluster.
 */
#ifndef SNAP_STORE_DELTA_H
#define SNAP_STORE_DELTA_H

#include "store/format.h"

#define DELTA_WORDS (PAGE_BYTES / 8)
#define DELTA_BITMAP_BYTES (DELTA_WORDS / 8)
/* Half a page: a difference beyond that saves little and costs a reader the base as well. */
#define DELTA_WORDS_MAX 256u

/* Words of `page` that differ from `base`. */
uint32_t delta_count(const void *page, const void *base);

/* Whether they differ in at most so many; ends as soon as that is known. */
bool delta_within(const void *page, const void *base, uint32_t words);

/* Writes the bitmap (DELTA_BITMAP_BYTES; bit i % 8 of byte i / 8 is word i) and the differing words
 * in ascending order; returns how many there are. */
uint32_t delta_gather(const void *page, const void *base, uint8_t *bitmap, uint8_t *words);

/* Words a bitmap has. */
uint32_t delta_bitmap_count(const uint8_t *bitmap);

/* Makes of the base in `page` the page of which bitmap and words are given. */
void delta_apply(uint8_t *page, const uint8_t *bitmap, const uint8_t *words);

/*
 * The same as runs of words, which are few: which words of the first half of the page, then of the
 * second, each run a byte for where in its half it begins and one for its words less one.  No run
 * goes on from one half to the other.
 */
struct delta_head { /* as it is stored */
	uint8_t words_less_1;
	uint8_t runs[2]; /* of the halves */
};
#define DELTA_HEAD_BYTES 3u
#define DELTA_RUN_BYTES 2u
#define DELTA_RUNS_MAX (DELTA_WORDS / 2)

/* Writes the head and the runs (at most DELTA_RUNS_MAX) of a bitmap with 1 to DELTA_WORDS_MAX
 * words; returns how many runs there are. */
uint32_t delta_make_runs(const uint8_t *bitmap, struct delta_head *head, uint8_t *runs);

/* Makes of the base in `page` the page whose runs and words are given.  It ends where they make no
 * sense, reading and writing nothing beyond words and page: the page's hash will tell. */
void delta_apply_runs(uint8_t *page, struct delta_head head, const uint8_t *runs,
		      const uint8_t *words);

/* Writes the bitmap; what makes no sense has no bits. */
void delta_bitmap_of_runs(struct delta_head head, const uint8_t *runs, uint8_t *bitmap);

#endif
