/* Giving up capabilities: docs/privileges.md says which command needs which, and why. */
#ifndef SNAP_CLI_PRIVILEGES_H
#define SNAP_CLI_PRIVILEGES_H

#include "cli/options.h"

/* Leaves this process only the capabilities that commands of this kind need.  R_OK or R_FAILED. */
int privileges_reduce(enum command_kind kind);

#endif
