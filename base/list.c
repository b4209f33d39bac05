#include "base/list.h"

#include <stdlib.h>

#include "base/warn.h"

#define FIRST_ROOM 64

void *list_grow(void *list, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : FIRST_ROOM;
	void *grown;

	if (n < *room)
		return list;
	grown = reallocarray(list, more, size);
	if (grown)
		*room = more;
	else
		warn("out of memory");
	return grown;
}
