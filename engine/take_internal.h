/* What a take and a pre-dump have in common. */
#ifndef SNAP_ENGINE_TAKE_INTERNAL_H
#define SNAP_ENGINE_TAKE_INTERNAL_H

#include <time.h>

#include "engine/engine.h"

struct ingest;
struct track_point;
struct tree;

uint64_t take_clock_ns(clockid_t clock);

/* Fills in what a generation tells of a tree that stands still.  R_OK or R_FAILED. */
int take_describe(const struct tree *tree, const struct take_options *opts, struct generation *gen);

/* The generation or pre-dump that writes must have been noted since. */
void take_newest_point(const struct ingest *ingest, const struct take_options *opts,
		       struct track_point *point);

#endif
