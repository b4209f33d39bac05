/* What the files that take in a dump share. */
#ifndef SNAP_ENGINE_EXCHANGE_IMPORT_INTERNAL_H
#define SNAP_ENGINE_EXCHANGE_IMPORT_INTERNAL_H

#include "dedup/dedup.h"
#include "engine/exchange/exchange.h"
#include "engine/exchange/pagemap.h"
#include "engine/exchange/source.h"

#define BLOCK_BYTES ((size_t)1 << 20)
#define IMAGE_MAX_BYTES ((uint64_t)1 << 30)
/* Of objects. */
#define IMPORT_NAME_MAX 255

struct import;

/* Of a dump whose memory came before its images: it is in the store already. */
struct import_live {
	struct ingest *ingest; /* begun; the import ends it in any case */
	/* Makes the tree of a pagemap ("pagemap-12"). */
	int (*memory)(struct import *im, const char *pagemap, void *arg);
	/* Before the commit. */
	int (*more)(struct import *im, void *arg);
	void *arg;
};

struct import {
	const struct import_options *options;
	struct import_result *result;
	const struct dump_source *source;
	int (*more)(struct import *im, void *arg); /* before the commit; may be NULL */
	void *more_arg;
	const struct import_live *live; /* may be NULL */
	char **names;			/* of its files, sorted */
	size_t n, room;
	struct dump_chain *chain;
	struct ingest *ingest;
	uint8_t *buf;  /* BLOCK_BYTES */
	uint64_t done; /* bytes of files */

	struct object_writer *writer; /* of memory being taken in */
	uint64_t end;		      /* page index behind the last one */
};

/* Imports a dump; `more` may add objects to it.  As exchange_import_dir(); of `result`, the time is
 * to be filled in before. */
int import_source(struct store *store, const struct dump_source *source,
		  const struct import_options *options, struct import_result *result,
		  int (*more)(struct import *im, void *arg), void *arg);

/* The same for memory that came before. */
int import_live(struct store *store, const struct dump_source *source,
		const struct import_options *options, struct import_result *result,
		const struct import_live *live);

/* The file as it is as an object.  R_OK or R_FAILED. */
int import_bytes(struct import *im, const char *file, const struct dump_file *from,
		 const char *object);

/* What snap itself works with of this file; nothing of some. */
int import_own(struct import *im, const char *file);

/*
 * CRIU writes no pagemap of a memfd without a page: makes an empty tree of each that has none.
 * `has` tells whether the tree of that name came in another way; NULL: by a pagemap of the dump.
 */
int import_memfds(struct import *im, bool (*has)(const char *name, void *arg), void *arg);

#endif
