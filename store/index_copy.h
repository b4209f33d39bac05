/*
 * The copy of what only the index knows: its numbers, the secret, and the records of the
 * generations.  It is renewed after every commit that changes a generation.  With it, the index can
 * be made anew of the packs (repair.c).
 */
#ifndef SNAP_STORE_INDEX_COPY_H
#define SNAP_STORE_INDEX_COPY_H

#include "store/store_internal.h"

struct index_copy {
	uint64_t next_page, next_pack, next_generation;
	uint64_t next_predump; /* 0: they are not counted apart */
	uint8_t uuid[UUID_BYTES], secret[SECRET_BYTES];
	struct generation_record *generations;
	size_t n_generations;
};

/* Renews the copy if it is not what the index says now.  What goes wrong is reported, and changes
 * nothing else. */
void index_copy_renew(struct store *store);

/* Reads it, below a directory whose name `dir` is for messages.  R_OK, R_NOT_FOUND (there is none,
 * not reported), R_DAMAGED or R_FAILED (reported).  Freed with index_copy_free(). */
int index_copy_read(int dirfd, const char *dir, struct index_copy *copy);
void index_copy_free(struct index_copy *copy);

#endif
