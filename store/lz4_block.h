/* LZ4 blocks that are quicker to unpack than those that are shortest. */
#ifndef SNAP_STORE_LZ4_BLOCK_H
#define SNAP_STORE_LZ4_BLOCK_H

#include <stddef.h>
#include <stdint.h>

/*
 * Writes the LZ4 block of the bytes `raw` anew, with its matches of fewer than `least` bytes as
 * literals: a match of four bytes saves one, and costs who unpacks it as much as a long one.
 * `block` must be what LZ4 made of `raw`, whole.  Returns the length at `to`; 0 if that were more
 * than `room` bytes.  After the LZ4 Block Format Description.
 */
size_t lz4_block_ease(const uint8_t *block, size_t len, const uint8_t *raw, unsigned int least,
		      uint8_t *to, size_t room);

#endif
