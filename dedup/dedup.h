/*
 * Pages in, page numbers out.  A take hands over its objects page by page; what the store already
 * holds is referred to, the rest is appended to segments, and one commit makes it a generation.
 */
#ifndef SNAP_DEDUP_DEDUP_H
#define SNAP_DEDUP_DEDUP_H

#include "store/store.h"

struct ingest;

/*
 * Begins a generation of `lineage`.  Several may be under way in one store at once, in several
 * processes.  The ingest holds a view, so that gc leaves alone what it finds.  R_OK or R_FAILED.
 */
int ingest_begin(struct store *store, const char *lineage, struct ingest **ingest);

/* Gives up: nothing of it becomes visible, what was written is reclaimed.  Frees `ingest`. */
void ingest_abort(struct ingest *ingest);

/*
 * Makes it a generation, or with gen->predump a pre-dump: packs are synced, then one index commit.
 * `gen` comes with the facts of the target filled in (lineage, time_ns, root_pid .. tasks,
 * frozen_ns, wall_ns) and returns with `number` and the page and byte counts.  Frees `ingest` on
 * R_OK; on failure the caller aborts.
 */
int ingest_commit(struct ingest *ingest, struct generation *gen);

/* From now on no hash is trusted: a page that has the hash of the one at the same place in the
 * lineage's last generation is compared with it, and stored anew if that cannot be read.  Costs the
 * reading of the last generation (docs/store-figures.md). */
void ingest_compare(struct ingest *ingest);

/*
 * From ingest_spool to ingest_unspool what is handed over is only remembered, so that nothing is
 * hashed, compressed or written while a target stands still: at most `max_bytes` of pages,
 * `ready_bytes` of which are made resident at once.  What exceeds it is taken in at once, with all
 * before it.  ingest_unspool takes in what is remembered.  R_OK or R_FAILED.
 */
int ingest_spool(struct ingest *ingest, size_t max_bytes, size_t ready_bytes);
int ingest_unspool(struct ingest *ingest);

/* One object being written.  One at a time for each ingest. */
struct object_writer;
int object_begin(struct ingest *ingest, const char *name, struct object_writer **writer);

/*
 * The same for pages that have been encrypted: they are stored as they are, are never compared with
 * others, no difference is made to or of them, and no hash look-up finds them.
 */
int object_begin_sealed(struct ingest *ingest, const char *name, struct object_writer **writer);

/*
 * Appends `n` pages with consecutive indexes from `index`, which must lie behind everything written
 * before.  All-zero pages are found out and cost nothing.  Indexes left out are absent.
 */
int object_pages(struct object_writer *writer, uint64_t index, const void *pages, size_t n);

/*
 * Where pages that are going to be handed over may be put, to save a copy: room for up to `*n`,
 * which becomes smaller if there is less in one piece.  NULL if there is no such place: use any.
 */
void *object_room(struct object_writer *writer, size_t *n);

/* The same for pages known to be zero, without looking at any. */
int object_zero(struct object_writer *writer, uint64_t index, size_t n);

/*
 * The same for pages that are known to be as in the newest generation of the lineage, without
 * having any: their numbers are taken over.  Where that generation has none, or cannot be read, the
 * object fails (reported): it has to be taken again with all of its pages.
 */
int object_keep(struct object_writer *writer, uint64_t index, size_t n);
/* The same with the pages at hand, to check whether they really are; those that differ are taken in
 * as they are, reported, and counted by ingest_misses(). */
int object_check(struct object_writer *writer, uint64_t index, const void *pages, size_t n);
uint64_t ingest_misses(const struct ingest *ingest);

/* The newest generation or pre-dump of the lineage as it was found at the beginning, 0 if there is
 * none, and the uuid of the store. */
uint64_t ingest_newest(const struct ingest *ingest, uint8_t store_uuid[16]);

/* The same as it is now, without an ingest.  R_OK or R_FAILED. */
int lineage_newest(struct store *store, const char *lineage, uint8_t store_uuid[16],
		   uint64_t *number);

/* The same for pages that ingest_view() has, by their numbers; not while anything is spooled. */
int object_numbers(struct object_writer *writer, uint64_t index, const page_no *numbers, size_t n);

/*
 * A whole object that is known to be as in the newest generation of the lineage: its tree is taken
 * over, whatever is being spooled.  `pages` is how many it has, for the statistics.  R_OK;
 * R_NOT_FOUND (not reported) if there is none of that length, or nothing may be taken on trust: it
 * has to be handed over whole.
 */
int object_same(struct ingest *ingest, const char *name, uint64_t length_bytes, uint64_t pages);

/* Takes a finished object out of the generation again, so that its name is free. */
void object_drop(struct ingest *ingest, const char *name);

/* Reads an image of the newest generation of the lineage; freed by the caller.  R_OK or R_NOT_FOUND
 * (none, or not readable; not reported). */
int ingest_read_newest(struct ingest *ingest, const char *name, void **data, size_t *len);

/* The view the ingest holds, to read that generation with, between calls of this file only. */
struct store_view *ingest_view(struct ingest *ingest);

/*
 * object_same() for whoever has looked the object up: in that generation it is `old`.  Not while
 * anything is being spooled.  R_OK, R_BUSY if this generation has an object
 * of that name (not reported), R_FAILED (reported).
 */
int object_take_over(struct ingest *ingest, const char *name, const struct object *old,
		     uint64_t pages);

/* Finishes and names the object within the generation; frees `writer` in any case.
 * `length_bytes` is its true length. */
int object_end(struct object_writer *writer, uint64_t length_bytes);

/* A whole small object at once (an image); the tail of the last page is zeroes. */
int object_put(struct ingest *ingest, const char *name, const void *data, size_t len);

/*
 * Takes the object of another generation over as it is: all its pages are shared, none is read.
 * R_OK, or R_NOT_FOUND, R_DAMAGED (a tree that cannot be read) or R_FAILED, reported.
 */
int object_adopt(struct ingest *ingest, uint64_t generation, const char *name);

#endif
