/* What preload_record.c writes and replay.c reads: one of these for each call, then the two names,
 * then the data. */
#ifndef SNAP_TESTS_LOSS_RECORD_H
#define SNAP_TESTS_LOSS_RECORD_H

#include <stdint.h>

#define RECORD_MAGIC 0x6c6f7373u
#define RECORD_MARK \
	255 /* in `kind`, beside those of preload.h: the data is a line of the ledger \
	     */

enum record_flags {
	RECORD_SYNCED = 1, /* a write through O_DSYNC: durable when it returns */
	RECORD_DIRECTORY = 2,
};

struct record {
	uint32_t magic, kind, flags;
	uint32_t name_len, name2_len;
	uint32_t pad;
	uint64_t data_len;
	uint64_t file, dir; /* inodes */
	uint64_t offset, len;
};

#endif
