/* What differs between two JSON values. */
#ifndef SNAP_CLI_JSON_DIFF_H
#define SNAP_CLI_JSON_DIFF_H

#include <jansson.h>

/*
 * NULL if they are equal.  Otherwise: of objects, an object of the members that differ; of arrays
 * of objects that have a member `fd`, `tid`, `pid` or `start`, an object of `added`, `removed` and
 * `changed`, told apart by that member; of all else, `before` and `after`.
 */
json_t *json_diff(json_t *before, json_t *after);

#endif
