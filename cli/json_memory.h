/* JSON in which nothing is missing because there was no memory for it. */
#ifndef SNAP_CLI_JSON_MEMORY_H
#define SNAP_CLI_JSON_MEMORY_H

#include <stdbool.h>

/* From now on json_memory_failed() tells whether jansson was ever refused memory: a value it could
 * not add then is missing, which the calls that add values one by one are not asked about. */
void json_memory_watch(void);
bool json_memory_failed(void);

#endif
