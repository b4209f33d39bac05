/* The names of a generation's objects as far as they are known: its directory in the making. */
#ifndef SNAP_DEDUP_NAME_LIST_H
#define SNAP_DEDUP_NAME_LIST_H

#include "store/format.h"

/* All zeroes is an empty one. */
struct name_list {
	uint8_t *bytes; /* as FORMAT.md has a directory object */
	size_t len, room;
	/* To find a name by: where entries begin, plus 1, at the hash of their names or behind it.
	 */
	size_t *slots;
	size_t n_slots; /* a power of two, more than twice the names; or 0 */
	size_t n_names;
};

void name_list_free(struct name_list *list);

bool name_list_has(const struct name_list *list, const char *name);

/* Appends a name of 1 to OBJECT_NAME_MAX bytes.  R_OK, or R_FAILED (out of memory, reported). */
int name_list_add(struct name_list *list, const char *name, const struct object *object);

/* Takes a name out again, if it is there. */
void name_list_remove(struct name_list *list, const char *name);

#endif
