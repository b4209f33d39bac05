/*
 * A library that is loaded before the C library and sees every call that changes or reads the files
 * of one directory, $LOSS_DIR.  Each call passes before_call(), which may make it fail or kill the
 * process (preload_fail.c), and after_call(), which may record it (preload_record.c).
 */
#ifndef SNAP_TESTS_LOSS_PRELOAD_H
#define SNAP_TESTS_LOSS_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum call_kind {
	CALL_CREATE,
	CALL_WRITE,
	CALL_SYNC,
	CALL_TRUNCATE,
	CALL_PUNCH,
	CALL_RENAME,
	CALL_UNLINK,
	CALL_READ,
	CALL_OPEN,
	CALL_MAP,
	CALL_MEMORY,
	CALL_INDEX,
};

struct call {
	enum call_kind kind;
	const char *function;
	int fd;		  /* of the file, or of the directory of `name`; -1: `name` is absolute */
	const char *name; /* of what is made, opened, renamed or removed */
	const char *name2;
	const void *data; /* written */
	size_t len;
	off_t offset;
	bool directory; /* made by mkdir() */
};

/* True if the call is about the directory of interest. */
bool call_concerns(const struct call *call);

/* 0: go on; else the errno to fail with, or -1: do only half of a write. */
int before_call(const struct call *call);

/* The call has succeeded.  For CALL_CREATE only if the file was not there before. */
void after_call(const struct call *call);

/* Held around a call and its record, so that the record has the order of the calls.  No-ops unless
 * there is a record. */
void record_lock(void);
void record_unlock(void);

/* For a program that is looked at from within: a plan as that of the environment (preload_fail.c),
 * in place of it.  Gives the number of calls of the class of the plan before. */
long loss_plan(const char *class, long at, bool always, const char *error);

/* Puts the full path of what the call is about into `path`; false if it cannot be known. */
bool call_path(const struct call *call, const char *name, char path[4096]);

#endif
