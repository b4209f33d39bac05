/* What taking pages in shares between its files. */
#ifndef SNAP_DEDUP_INGEST_INTERNAL_H
#define SNAP_DEDUP_INGEST_INTERNAL_H

#include "base/crew.h"
#include "dedup/dedup.h"
#include "dedup/digest.h"
#include "dedup/name_list.h"
#include "dedup/spool.h"
#include "dedup/tree_write.h"

struct ingest {
	struct store *store;
	struct store_view *view;
	struct classifier classifier;
	struct crew *crew; /* for hashing; may be NULL */
	struct digest digests[DIGEST_PAGES];
	char lineage[LINEAGE_NAME_MAX];
	uint64_t last_generation; /* of the lineage; 0: none */
	uint64_t last_predump;	  /* newer than that; 0: none */
	struct object_writer *open;
	struct spool *spool; /* NULL: what is handed over is taken in at once */
	struct name_list names;
	uint64_t scanned, fresh, shared, zero, misses;
	bool failed; /* something is missing: it cannot be committed any more */
};

struct object_writer {
	struct ingest *ingest;
	char *name; /* NULL: the directory, whose pages are not counted */
	enum page_kind kind;
	struct previous *previous;
	bool is_newest; /* it is of the newest of the lineage, and not of one before */
	struct tree_writer *tree;
	uint64_t next_index;
	page_no last_number; /* of the page taken in last */
	bool spooled;	     /* only remembered so far */
	bool failed;
};

/* The newest generation or pre-dump of the lineage; 0: none. */
uint64_t ingest_newest_number(const struct ingest *ingest);

/* What object_pages() .. object_numbers() do when nothing is spooled any more.  After a failure
 * (reported) the object has failed. */
int take_in_pages(struct object_writer *writer, uint64_t index, const void *pages, size_t n);
int take_in_zero(struct object_writer *writer, uint64_t index, size_t n);
int take_in_kept(struct object_writer *writer, uint64_t index, size_t n);
int take_in_numbers(struct object_writer *writer, uint64_t index, const page_no *numbers, size_t n);
int take_in_checked(struct object_writer *writer, uint64_t index, const uint8_t *pages, size_t n);

#endif
