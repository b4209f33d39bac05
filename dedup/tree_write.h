/* Builds the page tree of an object whose numbers come in ascending order of index. */
#ifndef SNAP_DEDUP_TREE_WRITE_H
#define SNAP_DEDUP_TREE_WRITE_H

#include "dedup/classify.h"
#include "dedup/previous.h"

struct tree_writer;

/* `previous` may be NULL; it and the classifier must outlive the writer. */
struct tree_writer *tree_writer_new(struct classifier *classifier, struct previous *previous);
void tree_writer_free(struct tree_writer *writer);

/* Sets the page at `index`, behind all set before.  R_OK or R_FAILED. */
int tree_writer_put(struct tree_writer *writer, uint64_t index, page_no number);

/* Writes the nodes that are left and tells root and height.  R_OK or R_FAILED. */
int tree_writer_end(struct tree_writer *writer, struct object *object);

#endif
