/*
 * What a lineage is always to be taken with: STORE/config/NAME, one setting a line as in
 *     with-files = on
 *     with-path = /srv/app
 *     cookie = full
 * Written by `snap config`, or by hand; lines that begin with # say nothing.
 */
#ifndef SNAP_CLI_CONFIG_H
#define SNAP_CLI_CONFIG_H

#include "cli/options.h"

#include <jansson.h>

struct config {
	bool with_files, no_stored;
	unsigned cookie; /* as in struct options */
	char *paths[WITH_PATHS_MAX];
	size_t n_paths;
};

/* Reads the settings of a lineage; none of them where there is no file.  R_OK or R_FAILED
 * (reported, with the line). */
int config_load(const char *store_dir, const char *lineage, struct config *config);
/* Changes settings by the words of `snap config`: "with-files=on", "with-path=DIR" (one more),
 * "with-path=" (none), "cookie=full", "stored=off".  R_OK, or R_FAILED (reported). */
int config_change(struct config *config, char *const *words, size_t n);
/* Writes them durably.  R_OK or R_FAILED (reported). */
int config_save(const char *store_dir, const char *lineage, const struct config *config);
void config_free(struct config *config);

#endif
