/*
 * Which process is the target of a lineage: a small file targets/NAME below the store, written by
 * run, take and restore.  A pid alone is no identity: the start time and the boot belong to it.
 */
#ifndef SNAP_CLI_TARGET_H
#define SNAP_CLI_TARGET_H

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

/* The name of the lineage whose recorded target this is; false if there is none. */
bool target_lineage(const char *store_dir, const struct target *target, char *name, size_t room);

#endif
