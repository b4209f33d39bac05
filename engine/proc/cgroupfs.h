/* Where control groups can be seen: every hierarchy is a file system, mounted anywhere. */
#ifndef SNAP_ENGINE_PROC_CGROUPFS_H
#define SNAP_ENGINE_PROC_CGROUPFS_H

#include <stdbool.h>
#include <stddef.h>

/* A file of a control group is at most this long. */
#define CGROUPFS_FILE_BYTES (1u << 20)

struct cgroupfs {
	char *mounts; /* /proc/self/mountinfo */
};

/* Reads what is mounted now.  R_OK or R_FAILED (reported); cgroupfs_close() in any case. */
int cgroupfs_open(struct cgroupfs *fs);
void cgroupfs_close(struct cgroupfs *fs);

/*
 * The folder of group `path` ("/a/b") in the hierarchy of `controllers` ("cpu,cpuacct",
 * "name=systemd"; "" is the unified one), whether or not there is such a group.  False if the
 * hierarchy is not mounted where that place could be seen.
 */
bool cgroupfs_folder(const struct cgroupfs *fs, const char *controllers, const char *path,
		     char *folder, size_t room);

/* Do these names, one by one, make up `controllers`?  { "cpu", "cpuacct" } and "cpu,cpuacct". */
bool cgroupfs_same_names(char *const *names, size_t n, const char *controllers);

#endif
