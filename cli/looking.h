/* What the commands share that look into a generation. */
#ifndef SNAP_CLI_LOOKING_H
#define SNAP_CLI_LOOKING_H

#include "cli/options.h"
#include "engine/look/look.h"

/* An opened generation and what it needs. */
struct looking {
	struct store *store;
	struct store_view *view;
	struct look *look;
	struct store_keys *keys; /* with --reveal-secrets */
};

/* Opens the generation of --gen or --name.  R_OK, or a result that has been reported. */
int looking_open(const struct options *options, struct looking *looking);
void looking_close(struct looking *looking);

/* The task of --pid, or the root without it.  NULL: there is none of that pid, reported. */
const struct look_task *looking_task(const struct options *options, const struct look *look);

/* Opens the new file of --output, 0600, which must not exist yet.  -1: reported. */
int looking_create(const char *path);

#endif
