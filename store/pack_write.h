/*
 * The packs one take, or one compaction, is writing.  Nobody else knows them before the commit that
 * refers to them; they stay locked until then, so that recovery leaves them alone.
 */
#ifndef SNAP_STORE_PACK_WRITE_H
#define SNAP_STORE_PACK_WRITE_H

#include "store/store_internal.h"

struct pack_writer;

/* No file is made before the first append.  NULL: out of memory, reported. */
struct pack_writer *pack_writer_new(struct store *store);

/* Before anything is appended: the number of its first pack, reserved with something else. */
void pack_writer_first(struct pack_writer *writer, uint64_t pack);

/* Appends an encoded segment (record->header_bytes + record->body_bytes) and sets pack and offset
 * of its record.  It may be written later, with others.  May be called by several threads at once.
 * R_OK or R_FAILED (disk full, ...). */
int pack_writer_append(struct pack_writer *writer, const uint8_t *bytes,
		       struct segment_record *record);

/* Writes what is left, and syncs the packs and their directory.  R_OK or R_FAILED. */
int pack_writer_sync(struct pack_writer *writer);

/* Has a segment of this writer in its pack, to be read through `*fd`, which stays the writer's.
 * R_OK, R_NOT_FOUND (it is none of this writer), R_FAILED. */
int pack_writer_open(struct pack_writer *writer, const struct segment_record *record, int *fd);

/* Bytes appended so far, the packs' own headers included. */
uint64_t pack_writer_bytes(struct pack_writer *writer);

/* Enters the (synced) packs into the index.  R_OK or R_FAILED. */
int pack_writer_put(struct pack_writer *writer, struct index_txn *txn);

/* Frees; unless `committed`, removes the packs. */
void pack_writer_close(struct pack_writer *writer, bool committed);

/* Gives out numbers of packs and ranges of page numbers, each only once; but a power loss before
 * any commit may undo that. */
struct reservation {
	uint64_t pages, packs;	   /* wanted */
	uint64_t first_page, pack; /* given */
};
int store_reserve(struct store *store, struct reservation *want);

#endif
