/* Pack files: making, finding and deleting them.  Who may delete is gc and recovery. */
#ifndef SNAP_STORE_PACK_H
#define SNAP_STORE_PACK_H

#include "store/store_internal.h"

#include <dirent.h>

#define PACK_NAME_BYTES 32

void pack_name(uint64_t pack, char name[PACK_NAME_BYTES]);

/* True and the number if the file name is that of a pack. */
bool pack_number(const char *name, uint64_t *pack);

/* Opens the folder of packs for reading its names; closedir() by the caller.  NULL: reported. */
DIR *pack_list(struct store *store);

/* Makes a new pack with its header and holds its lock through `*fd`.  R_OK, R_BUSY (recovery took
 * the newborn for an orphan: take another number), R_FAILED. */
int pack_create(struct store *store, uint64_t pack, int *fd);

/* Opens a pack for reading (`writable`: to punch holes).  R_OK, R_NOT_FOUND (not reported),
 * R_FAILED. */
int pack_open(struct store *store, uint64_t pack, bool writable, int *fd);

/* Unlinks a pack; a missing one is fine.  `*bytes` grows by what that gives back.  R_OK or
 * R_FAILED. */
int pack_unlink(struct store *store, uint64_t pack, uint64_t *bytes);

/* Gives the bytes back to the file system.  One that cannot punch holes is passed over silently.
 * R_OK or R_FAILED. */
int pack_punch(struct store *store, uint64_t pack, uint64_t offset, uint64_t len, uint64_t *bytes);

#endif
