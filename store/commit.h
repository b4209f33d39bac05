/* Making what a take has written a generation, and asking what the store already has. */
#ifndef SNAP_STORE_COMMIT_H
#define SNAP_STORE_COMMIT_H

#include "store/segment_write.h"

/* The number of a page with just these bytes, which have this hash; a page that cannot be read is
 * no such page.  R_OK, R_NOT_FOUND, R_FAILED. */
int view_find_page(struct store_view *view, const uint8_t hash[HASH_BYTES], const void *page,
		   page_no *number);

/*
 * One index transaction: the writer's (finished) segments with their hashes, and the generation
 * `gen` whose names are in `directory`.  Sets gen->number.  R_OK: durable.  R_FAILED: nothing
 * happened.  The caller keeps its view open until this is done: it is what keeps gc from pages that
 * the new generation shares.
 */
int commit_generation(struct store *store, struct segment_writer *writer,
		      const struct object *directory, struct generation *gen);

/*
 * After a commit of `segments` segments: merges what has gathered in the table of hashes, so much
 * that it keeps pace.  Not before the committer's view is closed: pages that a step leaves are free
 * for the next one only if no view still reads them, and the index would grow by each step.  What
 * fails here fails for the next take as well, which will say so; the generation is committed.
 */
void commit_settle(struct store *store, size_t segments);

#endif
