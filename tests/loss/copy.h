/* A store kept in memory, so that copies of it are made quickly. */
#ifndef SNAP_TESTS_LOSS_COPY_H
#define SNAP_TESTS_LOSS_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COPY_FILES_MAX 64

struct copy_file {
	char name[300]; /* below the store */
	uint8_t *bytes;
	size_t len;
};

struct copy {
	struct copy_file files[COPY_FILES_MAX];
	size_t n;
};

/* Reads all files of the store in `dir` but the index's lock file.  False if that fails. */
bool copy_load(struct copy *copy, const char *dir);

/* Makes `dir` that store, whatever it was.  Exits if that fails. */
void copy_write(const struct copy *copy, const char *dir);

/* Removes a directory with all in it. */
void copy_remove(const char *dir);

#endif
