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

/*
 * Opens the store's keys if --reveal-secrets was given; otherwise, and for a store that has none,
 * `*keys` becomes NULL.  R_OK or a result that has been reported.  store_keys_close().
 */
int secrets_reveal(const struct options *options, struct store *store, struct store_keys **keys);

/* The note that so much is not shown; nothing for 0. */
void secrets_note(uint64_t sealed_bytes, const char *what_not);

/* The complaint about those options, NULL if they make sense. */
const char *secrets_check(const struct options *options);

#endif
