/*
 * Memory as CRIU keeps it in a directory: a pagemap image that tells which pages there are, and a
 * file of pages in that order.  Pages that a directory does not hold itself are in its parent, the
 * directory its symbolic link `parent` leads to, and so on.
 */
#ifndef SNAP_ENGINE_EXCHANGE_PAGEMAP_H
#define SNAP_ENGINE_EXCHANGE_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/exchange/source.h"

/* Levels of a chain at most; longer ones are refused. */
#define DUMP_LEVELS_MAX 4096

/* A dump's directory and those it is an increment to. */
struct dump_chain;

/*
 * Opens a dump (which has to stay as long) and, of a directory, all its parents.  R_OK; R_DAMAGED
 * (a parent is missing, or the chain leads back to itself) or R_FAILED, both reported.
 */
int dump_chain_open(const struct dump_source *source, struct dump_chain **chain);
void dump_chain_close(struct dump_chain *chain);

/* How many directories there are, 1 without a parent. */
size_t dump_chain_levels(const struct dump_chain *chain);

/*
 * Calls `fn` for all pages of the pagemap `name` ("pagemap-12"), each read from the newest
 * directory that holds it, in ascending order: `n` pages at `index` (address or offset divided by
 * PAGE_BYTES).  `fn` returns non-zero to stop, which is then the result.
 *
 * R_OK; R_NOT_FOUND (the first directory has no such pagemap, not reported); R_DAMAGED (pages that
 * no directory holds or that were punched out of a parent, entries out of order, a file that ends
 * early: reported with directory and address); R_UNSUPPORTED (pages in a form that came after CRIU
 * 4.2); R_FAILED.
 */
int dump_pages_each(struct dump_chain *chain, const char *name,
		    int (*fn)(uint64_t index, const void *pages, size_t n, void *arg), void *arg);

/*
 * Reads the pagemap `name` of the first directory without its pages, and tells the name of their
 * file ("pages-1.img").  R_OK, R_NOT_FOUND (not reported), or as above.
 */
int dump_pagemap_load(struct dump_chain *chain, const char *name, char *pages, size_t room);
/* Calls `fn` for each entry of what was loaded, in ascending order; not `present`: its `n` pages
 * are a parent's, the others follow each other in the file.  `fn` returns non-zero to stop, which
 * is then the result. */
int dump_pagemap_each(struct dump_chain *chain,
		      int (*fn)(uint64_t index, uint64_t n, bool present, void *arg), void *arg);

#endif
