/* Where images come from: a file, standard input, a folder of files, a generation. */
#ifndef SNAP_CLI_IMAGE_SOURCE_H
#define SNAP_CLI_IMAGE_SOURCE_H

#include "cli/options.h"
#include "store/store.h"

#include <stddef.h>

/* What is longer is not read: JSON of it would need several times as much memory. */
#define IMAGE_FILE_MAX_BYTES ((size_t)1 << 30)

/* A folder of files "NAME.img", or a generation with its objects. */
struct image_source {
	int dirfd;	 /* -1: a generation */
	const char *dir; /* for messages */
	struct store *store;
	struct store_view *view;
	struct generation gen;
};

/* Opens the generation of --gen, or the folder `dir`.  R_OK, R_NOT_FOUND, R_FAILED, reported. */
int image_source_open(const struct options *options, const char *dir, struct image_source *source);
void image_source_close(struct image_source *source);

/* The bytes of the image `name` (without ".img"), freed by the caller.  R_OK, R_NOT_FOUND (not
 * reported), R_DAMAGED, R_FAILED. */
int image_source_load(const struct image_source *source, const char *name, void **data,
		      size_t *len);

/* A file, or standard input for NULL.  R_OK or R_FAILED, reported. */
int image_read_file(const char *path, void **data, size_t *len);

/* True for objects of a generation that are no images: memory and contents of files. */
bool image_is_contents(const char *object);

#endif
