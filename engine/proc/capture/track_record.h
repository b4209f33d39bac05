/*
 * The proof that tracking of a target continues exactly one generation: a small file in a folder
 * that does not outlive the machine's uptime, and a process, the keeper, that holds the
 * userfaultfds (which end with their last descriptor) and ends with the target.  The file is taken
 * away by whoever is going to protect pages anew, which only one can, and put back when the
 * generation that rests on that is committed.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_TRACK_RECORD_H
#define SNAP_ENGINE_PROC_CAPTURE_TRACK_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRACK_TASKS_MAX 64

/* A generation of one store. */
struct track_point {
	uint8_t store[16]; /* its uuid */
	char lineage[64];
	uint64_t generation; /* 0: none */
};

struct track_record_task {
	int32_t pid, fd; /* of the keeper */
	uint64_t start;
};

struct track_record {
	char magic[8];
	uint8_t boot_id[16];
	int32_t root, keeper;
	uint64_t root_start, keeper_start;
	struct track_point point;
	uint64_t written_bytes; /* between the last two generations */
	uint32_t n_tasks;
	uint32_t soft_dirty; /* 1: noted by soft-dirty bits, the keeper holds no userfaultfds */
	struct track_record_task tasks[TRACK_TASKS_MAX];
};

#define TRACK_PATH_BYTES 256

/* The path of the file for the living process `root`.  False, with a reason, if there is no place
 * for it. */
bool track_record_path(pid_t root, uint64_t root_start, char path[TRACK_PATH_BYTES],
		       const char **reason);

/* Takes the file away and reads it.  True if it is there, whole, of this boot, and its keeper
 * alive.
 */
bool track_record_claim(const char *path, struct track_record *record);

/* The same without taking it away. */
bool track_record_look(const char *path, struct track_record *record);

/* Puts it there.  R_OK or R_FAILED with errno set. */
int track_record_put(const char *path, struct track_record *record);

/*
 * Starts a keeper of these descriptors for `root` and notes it in `record`, with the numbers its
 * tasks' descriptors have there (in the order given).  R_OK or R_FAILED with errno set.
 */
int track_keeper_start(const char *path, const int *fds, size_t n, struct track_record *record);
/* Ends the keeper of a record. */
void track_keeper_end(const struct track_record *record);
/* A descriptor of our own of one that the keeper holds; -1 if there is none. */
int track_keeper_fd(const struct track_record *record, int fd);

#endif
