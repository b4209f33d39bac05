/*
 * Which process is the target of a lineage: a small file targets/NAME below the store, written by
 * run, take and restore.  A pid alone is no identity: the start time and the boot belong to it.
 */
#ifndef SNAP_CLI_TARGET_H
#define SNAP_CLI_TARGET_H

#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct target {
	pid_t pid;
	uint64_t start; /* clock ticks, /proc/PID/stat field 22 */
	uint8_t boot_id[16];
};

/* The identity of a living process.  R_OK, R_NOT_FOUND (gone, or a zombie; not reported), R_FAILED.
 */
int target_of_pid(pid_t pid, struct target *target);

/* True if that very process still lives. */
bool target_alive(const struct target *target);

/* R_OK, R_NOT_FOUND (none recorded, or not in a form we know; not reported) or R_FAILED. */
int target_load(const char *store_dir, const char *lineage, struct target *target);
/* R_OK or R_FAILED.  The store directory has to be there. */
int target_save(const char *store_dir, const char *lineage, const struct target *target);
/* Removes the record, where there is one. */
void target_remove(const char *store_dir, const char *lineage);

/*
 * Notes `now` as the target of every lineage whose target was `before`: a process that is filed
 * under several names stays their common target when it is restored under one of them.
 */
void target_follow(const char *store_dir, const struct target *before, const struct target *now);

/* The name of the lineage whose recorded target this is; false if there is none. */
bool target_lineage(const char *store_dir, const struct target *target,
		    char name[LINEAGE_NAME_MAX]);

#endif
