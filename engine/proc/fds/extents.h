/*
 * Where a file holds data and where it has holes, as its file system tells, without reading it.
 *
 * Asked by FIEMAP where there is one, which tells many extents at once and allocated from written
 * ones; else by SEEK_DATA and SEEK_HOLE; where neither works the whole file counts as data.
 */
#ifndef SNAP_ENGINE_PROC_FDS_EXTENTS_H
#define SNAP_ENGINE_PROC_FDS_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of bytes of a file, `end` not included. */
struct extent {
	uint64_t start, end;
};

enum extents_means { EXTENTS_FIEMAP, EXTENTS_SEEK, EXTENTS_NOTHING };

/* Both lists are ascending and do not overlap, touching ones are one. */
struct extents {
	struct extent *data; /* within the file's size */
	size_t n_data, room_data;
	/* Allocated but not written: reads as zero.  Also behind the end of the file. */
	struct extent *reserved;
	size_t n_reserved, room_reserved;
	enum extents_means means; /* by which they were found */
};

/*
 * Looks at `fd`, open for reading, a regular file of `size` bytes.  `first` is the best means to
 * try (tests begin with a lesser one).  `flush`: what is in memory only is written to the file
 * system first.  Moves the offset of `fd`.  R_OK (extents_free() it) or R_FAILED, reported.
 */
int extents_find(int fd, uint64_t size, enum extents_means first, bool flush,
		 struct extents *extents);
void extents_free(struct extents *extents);

/* A page of which only some sectors (512 bytes; bit 0 is the first) are allocated. */
struct partial_page {
	uint64_t index;
	uint8_t sectors;
};

/*
 * The data as whole pages: `*runs` are in units of pages, and `*partial` those that are data in
 * part only.  What is missing behind the end of the file does not make a page partial.  Both are
 * new memory.  R_OK or R_FAILED, reported.
 */
int extents_pages(const struct extents *extents, uint64_t size, struct extent **runs,
		  size_t *n_runs, struct partial_page **partial, size_t *n_partial);

#endif
