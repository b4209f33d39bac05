/* Where the key of a store's secrets comes from, as the command line says. */
#ifndef SNAP_CLI_SECRETS_H
#define SNAP_CLI_SECRETS_H

#include "cli/options.h"
#include "store/keys.h"

/*
 * What --key-file, --passphrase-file and --passphrase-fd say, else $SNAP_KEY_FILE and
 * $SNAP_PASSPHRASE_FILE, else the terminal.  With `renewed` what --new-key-file and the like say,
 * and nothing else.  Valid as long as `options` is.
 */
struct key_source secrets_source(const struct options *options, bool renewed);

/* The complaint about those options, NULL if they make sense. */
const char *secrets_check(const struct options *options);

#endif
