/*
 * Reading data files before the tree stands still.
 *
 * A large file that a take with --with-files or --with-path has to read is read while its writers
 * still run.  Its times, size and inode are asked for before; if they are the same when the tree
 * stands still, what was read is what the file holds, as every write since would have moved a time:
 * its last change must have been older than a tick of the clock.  Otherwise it is cloned or read
 * again then.
 */
#ifndef SNAP_ENGINE_FILES_DATA_AHEAD_H
#define SNAP_ENGINE_FILES_DATA_AHEAD_H

#include "engine/proc/files/data.h"

struct data_ahead;
struct stat;

/*
 * Reads what `options` will want of the tree of `root`, but for small files, those that the last
 * generation has, those mapped shared (writes to them move no time), those that change this very
 * moment, and those with a lease.  What is not read is flushed where it can be cloned (reflink.h).
 * R_OK or R_FAILED (reported); `*ahead` is for data_ahead_end() in any case.
 */
int data_ahead_read(struct ingest *ingest, pid_t root, const struct file_memory *memory,
		    const struct data_options *options, struct data_ahead **ahead);
/* NULL is nothing. */
void data_ahead_end(struct data_ahead *ahead);

/* When the tree stands still: drops what is not valid any more.  Calls `fn` for the names of the
 * objects that are there.  R_OK or what `fn` returned. */
int data_ahead_check(struct data_ahead *ahead, struct ingest *ingest,
		     int (*fn)(const char *object, void *arg), void *arg);
/* The object with the contents of the file that `st` tells of, which is then in use; NULL: none. */
const char *data_ahead_use(struct data_ahead *ahead, const struct stat *st);
/* Drops what has not been used. */
void data_ahead_drop(struct data_ahead *ahead, struct ingest *ingest);

#endif
