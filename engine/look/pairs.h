/* Which shared memory and which deleted file of one generation is which of another. */
#ifndef SNAP_ENGINE_LOOK_PAIRS_H
#define SNAP_ENGINE_LOOK_PAIRS_H

#include "engine/look/look.h"

/*
 * Objects of shared memory and deleted files are named by inode numbers ("pages-shmem-3",
 * "ghost-4"), which are others after a restore, and then those of something else.  So the same is
 * what the same process has mapped at the same address, or open as the same descriptor, in both;
 * only what neither tells goes by name.
 */
struct look_pairs;

/* R_OK or R_FAILED, reported.  `before` and `after` need not outlive it. */
int look_pairs_find(const struct look *before, const struct look *after, struct look_pairs **pairs);
void look_pairs_free(struct look_pairs *pairs); /* NULL is nothing */

/* The name that object `name` of the earlier generation (`later`: of the later one) has in the
 * other, NULL if it is not there, as far as names tell.  Lives as long as `pairs` and `name`. */
const char *look_pairs_other(const struct look_pairs *pairs, bool later, const char *name);

#endif
