/* What the exit status of snap says.  Scripts rely on these. */
#ifndef SNAP_CLI_EXIT_CODES_H
#define SNAP_CLI_EXIT_CODES_H

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,      /* nothing changed */
	EXIT_USAGE = 2,	      /* the command line makes no sense */
	EXIT_NOT_FOUND = 3,   /* no such store, generation or target */
	EXIT_UNSUPPORTED = 4, /* refused; what stands in the way was named */
	EXIT_DAMAGED = 5,     /* damage found in the store */
	EXIT_BUSY = 6,	      /* a lock or a pid was still taken after --wait */
	EXIT_SIGNAL = 128,    /* plus the signal that interrupted: 130, 143 */
	/* Inside of snap only: plus what a command waited for ended with, which becomes the exit
	 * status as it is. */
	EXIT_OF_TARGET = 256,
};

/* The exit code for a result of base/result.h. */
int exit_code_of(int result);

#endif
