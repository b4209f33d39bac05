/* Finding the segments of a pack without an index. */
#ifndef SNAP_STORE_PACK_SCAN_H
#define SNAP_STORE_PACK_SCAN_H

#include "store/segment_read.h"

/*
 * Calls `fn` for each segment of an open pack whose header is whole, in order of place, until it
 * gives non-zero, which is then the result; `whole` tells whether all its clusters can be unpacked
 * too.  What the disk does not give is passed over: so many bytes, besides what is of a segment
 * whose header was found.  R_OK or R_FAILED.
 */
int pack_scan(const uint8_t *secret, int fd, uint64_t pack,
	      int (*fn)(const struct segment *segment, bool whole, void *arg), void *arg,
	      uint64_t *unread_bytes);

/* Reads what an index would know of the segment at a place from its header.  R_OK, R_NOT_FOUND
 * (there is none), R_FAILED. */
int segment_probe(int fd, uint64_t pack, uint64_t offset, struct segment_record *record);

#endif
