/* memfd_secret(2): memory that only those who have it mapped can read; stored encrypted. */
#ifndef SNAP_ENGINE_PROC_FDS_SECRET_H
#define SNAP_ENGINE_PROC_FDS_SECRET_H

#include "engine/proc/fds/fds.h"

struct sealed;

bool is_secret_memory(const struct taken_file *f);

/* Notes the inode of `f`, and how to get at its contents.  R_OK, R_UNSUPPORTED (named), R_FAILED.
 */
int secret_note(struct fds_take *take, const struct taken_file *f, uint32_t shmid);

/* The object that holds the contents. */
void secret_object_name(uint32_t shmid, char name[32]);

/*
 * Can it be brought back?  Opens what is stored and decrypts all of it once, to nowhere.  R_OK
 * (`*sealed` is there), R_UNSUPPORTED (no memfd_secret, no key: reported), R_DAMAGED, R_FAILED.
 */
int secret_check(struct fds_restore *restore, const MemfdInodeEntry *entry, struct sealed **sealed);

/* Makes it anew, with size and contents.  The descriptor, or -1 after reporting. */
int secret_make(const MemfdInodeEntry *entry, struct sealed *sealed);

#endif
