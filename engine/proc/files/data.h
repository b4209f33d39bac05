/*
 * Files that are rolled back with the process: those it has open for writing, and whole folders.
 * DESIGN.md tells when they are read and how they are put back.
 */
#ifndef SNAP_ENGINE_FILES_DATA_H
#define SNAP_ENGINE_FILES_DATA_H

#include "engine/proc/files/files.h"

struct data_take;
struct data_ahead;
struct stat;

/*
 * Stores, while the tree stands still, the contents of all regular files it has open or mapped for
 * writing (`written`), and of the folders `paths`.  What the last generation has unchanged is not
 * read, nor what was read ahead (data_ahead.h; NULL: nothing was).  Fills `summary`.  R_OK;
 * R_UNSUPPORTED (named); R_FAILED (reported).  `*take` is to be given to data_take_end() in any
 * case.
 */
struct data_options {
	bool written;
	const char *const *paths; /* absolute or relative to the working folder */
	size_t n_paths;
	bool read_all;
	bool clone; /* what can be cloned is read by data_take_finish() only */
	int64_t frozen_at_ns;
};
int data_take(struct dump_ctx *ctx, const struct file_memory *memory,
	      const struct data_options *options, struct data_ahead *ahead,
	      struct file_summary *summary, struct data_take **take);
/* When nothing is only remembered any more (ingest_unspool): reads what was cloned, hands over what
 * is as it was, and the image.  R_OK or R_FAILED (reported). */
int data_take_finish(struct data_take *take);
void data_take_end(struct data_take *take);

/* ---- within this room ---- */

/* Adds an entry; the message and what it refers to live as long as `take`.  NULL: reported. */
SnapDataEntry *data_entry(struct data_take *take, const char *path);
void *data_alloc(struct data_take *take, size_t bytes);
/* Fills in what a stat tells. */
void data_describe(SnapDataEntry *entry, const struct stat *st);
/*
 * Stores the contents of the open file `fd`, or notes that they are those of the last generation.
 * `always`: its times prove nothing.  R_OK or R_FAILED.
 */
int data_contents(struct data_take *take, SnapDataEntry *entry, int fd, bool always);
/* Has this inode an entry already?  Its path, else NULL. */
const char *data_known_inode(const struct data_take *take, const struct stat *st);
/* Notes that it has.  R_OK or R_FAILED (reported). */
int data_note_inode(struct data_take *take, const struct stat *st, const char *path);
/* Extended attributes (ACLs are such) of what `path` leads to, or is if it is a link. */
int data_xattrs(struct data_take *take, SnapDataEntry *entry, const char *path);
bool data_is_mapped_to_write(const struct data_take *take, const struct stat *st);
bool data_is_leased(struct data_take *take, const struct stat *st);
/* The folder `path` and everything below it. */
int data_folder(struct data_take *take, const char *path);

#endif
