/* The few results every function of snap can give. */
#ifndef SNAP_BASE_RESULT_H
#define SNAP_BASE_RESULT_H

/* The C library's R_OK is 4, for access(2); wherever its headers come, R_OK of snap is 0. */
#include <fcntl.h>
#include <unistd.h>
#undef R_OK

/*
 * 0 is success, a positive value an expected outcome the caller decides about, and -1 a failure
 * that has already been reported through warn().  Kernel and library error codes are translated
 * where they appear and never travel in the same int.
 */
enum result {
	R_OK = 0,
	R_NOT_FOUND = 1,   /* no such store, generation, target, page, object */
	R_DAMAGED = 2,	   /* stored bytes are not what was written */
	R_BUSY = 3,	   /* a lock, a pid or a target is taken */
	R_UNSUPPORTED = 4, /* cannot be captured or rebuilt faithfully; has been named by warn() */
	R_FAILED = -1,
};

#endif
