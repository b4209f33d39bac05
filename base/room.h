/*
 * Memory for what is unpacked and passed on: pieces of some ten KiB to some MiB that come and go by
 * the thousand.  It is had in long stretches, of huge pages where there are any, and made resident
 * in one go, which costs a fraction of a fault for each page.  For all threads.
 */
#ifndef SNAP_BASE_ROOM_H
#define SNAP_BASE_ROOM_H

#include <stddef.h>

/* At least `size_bytes` > 0 of it, aligned as malloc() does.  NULL: out of memory, not reported. */
void *room_get(size_t size_bytes);

/* Gives it back; the size is that which was asked for.  NULL is no room. */
void room_put(void *room, size_t size_bytes);

/* What a piece of this size really takes. */
size_t room_taken(size_t size_bytes);

#endif
