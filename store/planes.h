/*
 * Numbers of eight bytes (floating point above all) hide how alike they are: their signs, exponents
 * and upper digits lie between bytes that look random.  Put together by place (all first bytes, all
 * second ones, ...) they compress where the words as such do not.
 */
#ifndef SNAP_STORE_PLANES_H
#define SNAP_STORE_PLANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLANES 8u

/* Whether that may be of use, by a look at a few of the words: bytes of some place are not all
 * equally frequent.  `len` is a multiple of a page. */
bool planes_promise(const uint8_t *bytes, size_t len);

/* Takes words apart into planes of len / PLANES bytes each, and puts them together again.  `to` and
 * `from` do not overlap. */
void planes_split(const uint8_t *from, size_t len, uint8_t *to);
void planes_join(const uint8_t *from, size_t len, uint8_t *to);

#endif
