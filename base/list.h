/* Lists that grow as they are filled. */
#ifndef SNAP_BASE_LIST_H
#define SNAP_BASE_LIST_H

#include <stddef.h>

/*
 * Room for one more behind the `n` elements of `size` bytes at `list`, which has room for `*room`
 * (0 and NULL: for none yet).  Returns the list, which may have moved, and the caller frees; or
 * NULL without memory, which is reported, and `list` and `*room` are as before.
 */
void *list_grow(void *list, size_t n, size_t *room, size_t size);

#endif
