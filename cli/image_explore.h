/* What the images of a folder or a generation tell together: for snap image x. */
#ifndef SNAP_CLI_IMAGE_EXPLORE_H
#define SNAP_CLI_IMAGE_EXPLORE_H

#include "cli/image_source.h"
#include "engine/image/image.h"

#include <jansson.h>

/* The images that all views need, read once. */
struct exploring {
	const struct image_source *source;
	ProtobufCMessage **processes, **files; /* pstree_entry, file_entry */
	size_t n_processes, n_files;
};

/* Reads all entries of an image that has no payload; none where it is not there and `optional`.
 * Freed by free_entries().  R_OK, R_NOT_FOUND, R_DAMAGED, R_FAILED, reported. */
int read_entries(const struct image_source *source, enum image_kind_id kind, const char *name,
		 bool optional, ProtobufCMessage ***entries, size_t *n);
void free_entries(ProtobufCMessage **entries, size_t n);

/* Lists of objects, one for each process, in the order of pstree, freed by the caller.  R_OK or as
 * above. */
int explore_ps(const struct exploring *e, json_t **list);
int explore_fds(const struct exploring *e, json_t **list);
int explore_mems(const struct exploring *e, json_t **list);
int explore_rss(const struct exploring *e, json_t **list);
int explore_sk(const struct exploring *e, json_t **list);

/* Reads the descriptor table of a process.  R_OK, R_NOT_FOUND (not reported: one that has ended has
 * none), R_DAMAGED, R_FAILED. */
int explore_table(const struct exploring *e, uint32_t pid, ProtobufCMessage ***entries, size_t *n);

/* The open file of that number, or NULL. */
const FileEntry *explore_file(const struct exploring *e, uint32_t id);

/* What a descriptor leads to, as crit says it: a path, "pipe[4]", "EVENTFD.7". */
json_t *explore_file_words(const struct exploring *e, FdTypes type, uint32_t id);

#endif
