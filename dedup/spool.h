/* What is handed over while a target stands still, kept in memory until it runs again. */
#ifndef SNAP_DEDUP_SPOOL_H
#define SNAP_DEDUP_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_writer;
struct spool;

enum spool_verb { SPOOL_BEGIN, SPOOL_PAGES, SPOOL_ZERO, SPOOL_KEEP, SPOOL_CHECK, SPOOL_END };

struct spool_record {
	enum spool_verb verb;
	struct object_writer *writer;
	uint64_t index; /* of all but BEGIN; the length in bytes of END */
	size_t n;
	const void *pages; /* of PAGES and CHECK */
};

/* Holds at most `max_bytes` of pages, rounded down to 2 MiB, `ready_bytes` of which are made
 * resident now.  NULL without memory. */
struct spool *spool_new(size_t max_bytes, size_t ready_bytes);
void spool_free(struct spool *spool);

/*
 * Room for up to `*n` consecutive pages, which becomes smaller if there is less in one piece; NULL
 * if the spool is full.  What is written there is not kept before spool_add() names it.
 */
void *spool_room(struct spool *spool, size_t *n);

/* Appends a record; pages that do not lie in the room handed out last are copied.  R_OK; R_BUSY if
 * it is full (nothing was appended); R_FAILED without memory, reported. */
int spool_add(struct spool *spool, const struct spool_record *record);

/* The records in order, ended by NULL. */
const struct spool_record *spool_next(struct spool *spool);

#endif
