/* Archives made in memory, good ones and others. */
#ifndef SNAP_TESTS_TAR_MAKE_H
#define SNAP_TESTS_TAR_MAKE_H

#include <stddef.h>
#include <stdint.h>

struct tar_make {
	uint8_t *data; /* freed by the caller */
	size_t len, room;
};

/* Adds a member of `n` bytes, of which the header tells `told`; of `type` as in a tar ('0' is a
 * file, '5' a folder, '2' a link to `link`). */
void tar_make_member(struct tar_make *tar, const char *name, char type, const char *link,
		     const void *data, size_t n, uint64_t told);
void tar_make_file(struct tar_make *tar, const char *name, const void *data, size_t n);
/* Two blocks of zeroes. */
void tar_make_end(struct tar_make *tar);

/* The smallest dump that is imported, in `folder` ("checkpoint/"): one process with two pages. */
void tar_make_dump(struct tar_make *tar, const char *folder);

/* An archive with a dump and some files beside it. */
void tar_make_whole(struct tar_make *tar);

/* Adds bytes as they are. */
void tar_make_bytes(struct tar_make *tar, const void *data, size_t n);

#endif
