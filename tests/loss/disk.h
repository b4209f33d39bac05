/*
 * A model of a directory on a disk that loses power: what has been synced stays; of what has not,
 * any part may be there, in any order, in whole sectors.
 *
 * A file's bytes are synced by fsync of the file (or a write through O_DSYNC, for those bytes), its
 * name by fsync of its directory; nothing else is relied on, no order between files, and not that
 * the one brings the other along.  A rename is there or not.  A sector is 512 bytes.
 */
#ifndef SNAP_TESTS_LOSS_DISK_H
#define SNAP_TESTS_LOSS_DISK_H

#include "record.h"

#include <stdbool.h>
#include <stddef.h>

struct disk;

/* What becomes of calls that were not synced. */
enum loss_mode {
	LOSS_NONE,    /* all of them are there: the process was killed */
	LOSS_ALL,     /* none is */
	LOSS_SOME,    /* each is or is not */
	LOSS_SECTORS, /* each sector of a write is or is not, each other call too */
	LOSS_BLOCKS,  /* the same with 4096 bytes */
	LOSS_ZEROES,  /* names and lengths are there, bytes are not */
	LOSS_MODES,
};

struct disk *disk_new(void);
void disk_free(struct disk *disk);

/* The next call, with its names and data (valid only now). */
void disk_apply(struct disk *disk, const struct record *record, const char *name, const char *name2,
		const uint8_t *data);

/* Calls not yet synced. */
size_t disk_pending(const struct disk *disk);

/* Makes `dir` (which exists and is empty) what the root of the record may be after a power loss
 * now.  `seed` decides what is there.  False, reported, if it cannot be written. */
bool disk_after_loss(const struct disk *disk, enum loss_mode mode, uint64_t seed, const char *dir);

#endif
