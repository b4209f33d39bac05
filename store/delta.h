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

#endif
