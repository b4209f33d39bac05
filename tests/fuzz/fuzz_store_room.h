/* A store for the targets that write to one. */
#ifndef SNAP_TESTS_FUZZ_STORE_ROOM_H
#define SNAP_TESTS_FUZZ_STORE_ROOM_H

#include "store/store.h"

/* A new one now and then, so that it stays small; removed at the end.  Not to be closed. */
struct store *fuzz_store(void);

/* It holds one more generation. */
void fuzz_store_grown(void);

#endif
