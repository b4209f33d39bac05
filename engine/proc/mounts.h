/*
 * What is mounted where a target lives: told by snap inspect, and looked at by nothing else, as a
 * restore brings a tree back among the mounts there are.
 */
#ifndef SNAP_ENGINE_PROC_MOUNTS_H
#define SNAP_ENGINE_PROC_MOUNTS_H

#include <stdint.h>
#include <sys/types.h>

struct ingest;

/* One line of /proc/PID/mountinfo; texts lie in the line it was made of. */
struct proc_mount {
	uint32_t id, parent, major, minor;
	char *root, *mountpoint, *type, *source;
	char *options;	      /* of the mount */
	char *options_behind; /* of the file system behind it */
	uint32_t shared;      /* peer group, 0: none */
	uint32_t slave_of;    /* likewise */
	uint32_t from; /* the nearest group below its root that it has its events from, or 0 */
	int unbindable;
};

/* Makes one of a line without its newline, which is changed: texts in it end with NUL, and \040 and
 * the like are the characters they stand for.  R_OK, or R_DAMAGED (not reported). */
int proc_mount_parse(char *line, struct proc_mount *mount);

/* Stores the image of what `pid` sees mounted.  Something that cannot be read is noted, and the
 * image left out: no take fails for that.  R_OK or R_FAILED (the store's, reported). */
int mounts_take(struct ingest *ingest, pid_t pid);

#endif
