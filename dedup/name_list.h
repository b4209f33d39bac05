/* The names of a generation's objects as far as they are known: its directory in the making. */
#ifndef SNAP_DEDUP_NAME_LIST_H
#define SNAP_DEDUP_NAME_LIST_H

#include "store/format.h"

/* All zeroes is an empty one; its owner frees `bytes`. */
struct name_list {
	uint8_t *bytes; /* as FORMAT.md has a directory object */
	size_t len, room;
};

bool name_list_has(const struct name_list *list, const char *name);

/* Appends a name of 1 to OBJECT_NAME_MAX bytes.  R_OK, or R_FAILED (out of memory, reported). */
int name_list_add(struct name_list *list, const char *name, const struct object *object);

/* Takes a name out again, if it is there. */
void name_list_remove(struct name_list *list, const char *name);

#endif
