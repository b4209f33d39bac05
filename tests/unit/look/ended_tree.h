/* The least that a generation needs for places in it to be told of. */
#ifndef SNAP_TESTS_ENDED_TREE_H
#define SNAP_TESTS_ENDED_TREE_H

#include "dedup/dedup.h"

/* Puts the images of a tree of one process, number 1, that has ended. */
void ended_tree_put(struct ingest *ingest);

#endif
