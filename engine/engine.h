/*
 * The engine: from a living tree of processes to a generation in a store, and back.
 *
 * Whatever happens, a target that was looked at runs on as it was: a failed or refused take changes
 * nothing in it and leaves no generation.
 */
#ifndef SNAP_ENGINE_ENGINE_H
#define SNAP_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/progress.h"
#include "engine/proc/phases.h"
#include "store/keys.h"
#include "store/store.h"

/* What becomes of established TCP connections and of unix connections to peers outside the tree. */
enum tcp_policy {
	TCP_CLOSE, /* restored as reset by the peer */
	TCP_KEEP,  /* taken over with their sequence numbers and queues */
	TCP_REFUSE,
};

/* How memory gets from the frozen tree into the store (engine/proc/capture/capture.h). */
enum capture_method {
	CAPTURE_AUTO, /* whichever lets the tree stand still for the shortest time */
	CAPTURE_COPY,
	CAPTURE_CLONE,
	CAPTURE_PREDUMP, /* most of it is read before (engine_predump()); the rest as by
			    CAPTURE_AUTO */
};

struct capture_summary {
	enum capture_method method; /* CAPTURE_CLONE if at least one task was cloned */
	size_t clones;
	char reason[192]; /* why a task was not cloned; "" if all were that should be */
	char why[96];	  /* what made CAPTURE_AUTO choose so; "" if it was not asked */
};

/* Reading while the target runs, so that less is left for when it stands still. */
#define PREDUMP_ROUNDS_MAX 8
struct predump_round {
	uint64_t frozen_ns, wall_ns;
	uint64_t read_bytes, kept_bytes; /* kept: not written since the round, or take, before */
	uint64_t vanished_bytes;	 /* gone before they could be read */
	uint64_t stored_bytes;
	uint64_t left_bytes; /* written again by its end, about */
};
struct predump_summary {
	struct predump_round rounds[PREDUMP_ROUNDS_MAX];
	size_t n;	 /* rounds; 0: there was no pre-dump */
	uint64_t number; /* of what they left in the store, as shown */
};

/* Whether writes between takes are noted, so that the next one reads only what was written. */
enum track_method {
	TRACK_AUTO, /* larger address spaces, where the kernel can */
	TRACK_WP,   /* all */
	/* All, by soft-dirty bits.  Only when asked for: whoever else clears them (another tool
	 * that takes snapshots) leaves no trace of that. */
	TRACK_SOFT_DIRTY,
	TRACK_NONE, /* neither relied on nor begun; what is tracked stays as it is */
};

struct track_summary {
	bool used;	 /* pages were kept because of it */
	bool soft_dirty; /* by soft-dirty bits, not by userfaultfd */
	uint64_t kept_bytes;
	size_t tasks;	  /* tracked from this generation on */
	char reason[160]; /* why it was not used, or why a task is not tracked; "" if all is well */
};

/* How much of each file is looked at, so that a restore can compare (docs/files.md). */
enum file_cookie {
	FILE_COOKIE_DEFAULT,
	FILE_COOKIE_STAT,
	FILE_COOKIE_BUILD_ID,
	FILE_COOKIE_SAMPLED,
	FILE_COOKIE_FULL,
};

/* What was done about files; inodes, not descriptors, are counted. */
struct file_summary {
	size_t files;  /* regular ones with a path */
	size_t cached; /* of which the last generation told everything */
	size_t read;   /* that were read, wholly or in part */
	uint64_t bytes_read;
	size_t stored;	       /* executables and libraries whose contents are in the generation */
	uint64_t bytes_stored; /* of these, before any deduplication */
	uint64_t ns;	       /* for all of that, before and after the freeze */
	size_t data;	       /* files stored to be put back (with_files, with_paths) */
	size_t data_kept;      /* of which the last generation has the same contents */
	size_t data_torn;      /* that others wrote to while they were read */
	uint64_t bytes_data;   /* of these, before any deduplication */
};

struct take_options {
	pid_t pid;	     /* root of the tree */
	const char *lineage; /* name under which the generations of this target are kept */
	enum tcp_policy tcp;
	enum capture_method capture;
	enum track_method track;
	/* Read what is kept too, and compare it; and clones with the target. */
	bool verify_tracking;
	bool kill;    /* end the tree after the commit, before it runs again */
	bool stop;    /* leave the tree stopped (SIGSTOP) */
	bool compare; /* trust no hash: see ingest_compare() */
	enum file_cookie cookie;
	bool with_files;	       /* store regular files that are open for writing */
	const char *const *with_paths; /* and these folders */
	size_t n_with_paths;
	bool no_stored; /* do not store executables and libraries */
	/* Ghost files (open but deleted) with more allocated bytes are refused; 0: none is. */
	uint64_t ghost_max_bytes;
	/* Where the key to secret memory comes from, of which nothing is asked unless the tree has
	 * some; NULL: from where the store says. */
	const struct key_source *keys;
	const struct progress *progress; /* may be NULL */
};

struct take_result {
	struct generation gen; /* as committed */
	pid_t *pids;	       /* tasks of the tree, root first; freed by take_result_free() */
	size_t n_pids;
	struct capture_summary capture;
	struct track_summary track;
	struct predump_summary predump;
	uint64_t ghost_bytes_read; /* of deleted files */
	struct file_summary files;
	uint64_t tracking_misses; /* with verify_tracking: kept pages that had changed */
	uint64_t clone_misses;	  /* with it: pages of a clone that are not the target's */
	uint64_t freezing_ns;	  /* from the first stop to the last */
	/* A pre-dump stops the tree too: how long it stood still in all, and for the take proper;
	 * gen.frozen_ns is the longest of its stops. */
	uint64_t frozen_total_ns, frozen_last_ns;
	struct phase_times phases; /* of frozen_last_ns */
};

/*
 * Takes one generation of the tree below opts->pid.  Blocks until it is committed.  R_OK,
 * R_NOT_FOUND (no such process), R_UNSUPPORTED (something named by warn(), every finding of it),
 * R_BUSY (traced by another process), R_FAILED.  Only on R_OK a generation came into being and
 * `result` is filled.
 */
int engine_take(struct store *store, const struct take_options *opts, struct take_result *result);
void take_result_free(struct take_result *result);

/*
 * Reads the memory of the tree below opts->pid while it runs, in rounds, until what is written
 * meanwhile is little or does not become less.  The tree only stands still for the short beginning
 * of each.  What was read is stored as a pre-dump, which the next take of the lineage builds on and
 * nobody else sees.  `summary` tells what came into being, also after a failure.  R_OK,
 * R_NOT_FOUND, R_UNSUPPORTED, R_BUSY, R_FAILED as engine_take().
 */
int engine_predump(struct store *store, const struct take_options *opts,
		   struct predump_summary *summary);

/* Ends the tracking of the target whose root is `pid`: R_OK, R_NOT_FOUND if it is not tracked. */
int engine_untrack(pid_t pid);

/* The program that is run for ENGINE_KEEPER_WORD and a path as its only arguments calls this: it
 * keeps the descriptors a take gave it until the target ends.  R_OK. */
#define ENGINE_KEEPER_WORD "--keep-tracking"
int engine_keep_tracking(const char *path);

/* What becomes of files that are not what they were at the take. */
enum restore_files {
	RESTORE_FILES_STRICT, /* the restore is refused */
	RESTORE_FILES_STORED, /* stored contents are used in their place, where there are any */
	RESTORE_FILES_IGNORE, /* what is there is used; what is missing still stands in the way */
};

enum file_outcome {
	FILE_REFUSED,
	FILE_FROM_STORE,
	FILE_IGNORED,
	FILE_ACCEPTED, /* it has another name or inode, or has grown as a log does */
};

/* One file that is not what it was; all of it is valid in the call only. */
struct file_difference {
	const char *path;
	const char *text;	  /* for people: "size 12 -> 15, mode 100644 -> 100600" */
	const char *const *kinds; /* for programs: "size", "mode" */
	size_t n_kinds;
	const char *renamed_to; /* NULL if it has not been */
	bool stored;		/* the generation has its contents */
	enum file_outcome outcome;
};

struct restore_result;
struct restore_options {
	uint64_t generation;
	/* End the living target of the lineage first, if it provably is the same target. */
	bool replace;
	/* What the caller knows to be the living target, 0 for nothing: its pid, and its start time
	 * (/proc/PID/stat field 22).  It need not have the pid of the generation's root.  Without
	 * it, a process is the target if a generation of the lineage was taken of it. */
	pid_t living_pid;
	uint64_t living_start;
	/* Wait for the root and give its exit status in restore_result.status. */
	bool foreground;
	enum restore_files files;
	bool with_files; /* put back the files stored with the generation */
	/* Told of each file that differs, before anything is done.  May be NULL. */
	void (*difference)(const struct file_difference *difference, void *arg);
	const struct key_source *keys;	 /* as in take_options */
	const struct progress *progress; /* may be NULL */
	/* Told when all tasks run, before that wait.  May be NULL. */
	void (*running)(const struct restore_result *result, void *arg);
	void *arg;
};

struct restore_result {
	uint64_t generation;
	pid_t root_pid;
	uint64_t wall_ns;
	size_t files_back; /* put back, because they were not what they were */
	int status;	   /* of wait(2), with `foreground` only */
};

/*
 * Brings a generation back.  R_OK when all its tasks run; R_NOT_FOUND (no such generation), R_BUSY
 * (a pid is in use, named), R_UNSUPPORTED (this machine cannot hold it, named), R_DAMAGED,
 * R_FAILED. When not R_OK no process of it is left.
 */
int engine_restore(struct store *store, const struct restore_options *opts,
		   struct restore_result *result);

/* One finding of a check; `pid` is 0 for one about the machine. */
struct check_finding {
	pid_t pid;
	const char *text;
};

/*
 * Does everything of a take but store it: freezes the tree below `pid`, looks, lets it go, and
 * calls `fn` for each thing that a take would refuse.  With `pid` 0 the kernel alone is looked at.
 * R_OK (nothing found), R_UNSUPPORTED (`fn` was called), R_NOT_FOUND, R_BUSY, R_FAILED.
 */
int engine_check(pid_t pid, enum tcp_policy tcp,
		 void (*fn)(const struct check_finding *finding, void *arg), void *arg);

/* What a take would find of tracking. */
struct track_check {
	bool works;	     /* this machine can note writes between takes */
	uint64_t generation; /* as shown, since which they are; 0: they are not noted now */
	bool predump;	     /* it is a pre-dump */
	char lineage[64];    /* of it; "" */
	char reason[160];    /* why it does not work; "" */
};

/* With `pid` 0 the kernel alone is looked at.  Never fails. */
void engine_check_tracking(pid_t pid, struct track_check *check);

/*
 * Makes a generation of `lineage` that has `len` bytes of `data` in place of the image `name` of
 * generation `of`, and shares all else with it; its image "snap-edit" tells so.  `view` is one of
 * `store` that has `of`.  R_OK with `made`, R_NOT_FOUND (no such image), R_DAMAGED, R_FAILED, all
 * reported, and then nothing has changed.
 */
int engine_edit(struct store *store, struct store_view *view, const struct generation *of,
		const char *name, const void *data, size_t len, const char *lineage,
		struct generation *made);

#endif
