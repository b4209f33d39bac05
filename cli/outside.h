/* Dumps and archives that are in no store, looked into as if they were. */
#ifndef SNAP_CLI_OUTSIDE_H
#define SNAP_CLI_OUTSIDE_H

#include "cli/options.h"

/*
 * Imports the directory or archive `path` into a store of its own, in a folder of this user's in
 * $TMPDIR (or /tmp), and runs `command` with options that name it as generation 1.  The folder is
 * taken away whatever happens to the command; only a SIGKILL of this process leaves it.  An exit
 * code.
 */
int outside_run(const struct options *options, const char *path,
		int (*command)(const struct options *options));

#endif
