/* What the commands share that take dumps in while criu makes them. */
#ifndef SNAP_CLI_LIVE_H
#define SNAP_CLI_LIVE_H

#include "cli/options.h"
#include "engine/exchange/live.h"

/* What the options say of it; without progress. */
struct live_options live_options_of(const struct options *options, const char *images);

/* Prints what came into being.  An exit code. */
int live_report(const struct options *options, const struct live_result *result);

#endif
