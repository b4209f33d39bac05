/*
 * New pages into packs.  A writer belongs to one take: it numbers the pages, gathers them into
 * segments, and has threads of its own compress and append these while the caller goes on.
 */
#ifndef SNAP_STORE_SEGMENT_WRITE_H
#define SNAP_STORE_SEGMENT_WRITE_H

#include "store/pack_write.h"

struct segment_writer;

/* What is read together and dies together is kept together: each kind has segments of its own. */
enum page_kind {
	KIND_DATA,
	KIND_NODE,
	KIND_IMAGE,
	KIND_SEALED, /* encrypted: no base, no compression, no entry in the index of hashes */
	KIND_COUNT
};

/* Begins, with a first range of page numbers reserved.  R_OK or R_FAILED. */
int segment_writer_open(struct store *store, struct segment_writer **writer);

/* Copies a page with its hash and gives it a number.  `base` is a page of the store that this one
 * may be stored as a difference to, or PAGE_ABSENT; a take's threads read it, through views that
 * they open, so what keeps it alive is the caller's view.  May wait for a thread to finish a
 * segment, or for an index transaction that reserves more numbers.  R_OK, or R_FAILED (disk full,
 * ...). */
int segment_writer_add(struct segment_writer *writer, enum page_kind kind, const uint8_t *hash,
		       const void *page, page_no base, page_no *number);

/* A page this writer was given before, valid until the next call; bases are read through `view`.
 * R_OK, R_NOT_FOUND (not its own), R_DAMAGED (not reported), R_FAILED. */
int segment_writer_page(struct segment_writer *writer, struct store_view *view, page_no number,
			const uint8_t **page);

/* Writes what is left and syncs packs and their directory.  R_OK or R_FAILED. */
int segment_writer_finish(struct segment_writer *writer);

/* After finish: the segments in ascending order of first number. */
const struct segment_record *segment_writer_records(struct segment_writer *writer, size_t *n);

/* The packs it writes to. */
struct pack_writer *segment_writer_packs(struct segment_writer *writer);

/* After finish: bytes of the bodies of each kind, and of all headers. */
struct segment_bytes {
	uint64_t kinds[KIND_COUNT], headers;
};
struct segment_bytes segment_writer_bytes(const struct segment_writer *writer);

/* Frees; unless `committed`, removes the packs. */
void segment_writer_close(struct segment_writer *writer, bool committed);

#endif
