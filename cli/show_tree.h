/* The process tree of a generation, read from its images. */
#ifndef SNAP_CLI_SHOW_TREE_H
#define SNAP_CLI_SHOW_TREE_H

#include "store/store.h"

#include <jansson.h>
#include <stdint.h>

/*
 * An array with an object for each process, in the order of the images: pid, ppid, pgid, sid,
 * threads, name, state.  R_OK, or R_DAMAGED or R_FAILED, reported.  Freed by the caller.
 */
int tree_json(struct store_view *view, const struct generation *gen, json_t **tree);

/* Prints such an array as an indented table. */
void tree_print(json_t *tree);

/* "alive", "zombie", "stopped" for a task_state of image.h. */
const char *tree_state_word(uint32_t state);

#endif
