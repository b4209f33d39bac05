/* Bytes of packs that segments have left, and the packs they are in. */
#ifndef SNAP_STORE_REAP_HOLE_H
#define SNAP_STORE_REAP_HOLE_H

#include "store/store_internal.h"

/* Notes a hole that views which began before `txn` may still read; HOLE_FREE: none does. */
int hole_put(struct index_txn *txn, uint64_t pack, uint64_t offset, uint64_t bytes,
	     uint64_t hole_txn);

/* One segment or hole less that anyone may read.  A pack without any leaves the index, with its
 * holes: it is an orphan then, and removed as such. */
int pack_release(struct index_txn *txn, uint64_t pack);

#endif
