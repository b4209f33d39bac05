/* A folder of a test's own. */
#ifndef SNAP_TESTS_UNIT_BASE_FOLDER_H
#define SNAP_TESTS_UNIT_BASE_FOLDER_H

#include <stddef.h>

struct folder {
	char path[64];
	int fd;
};

/* Setup and teardown of cmocka: `*state` is the folder.  At the end there may be a file "file" in
 * it and nothing else. */
int folder_make(void **state);
int folder_remove(void **state);

/* The entries in it. */
size_t folder_count(const struct folder *f);

#endif
