/* Which memory changed over generations, as a page for a browser. */
#ifndef SNAP_CLI_CHANGE_MAP_H
#define SNAP_CLI_CHANGE_MAP_H

#include <stdio.h>

#include "engine/look/look.h"

struct map_cell {
	uint64_t pages; /* of the mapping then; 0: it was not there */
	uint64_t dirty; /* of these that differ from the generation before */
};

struct map_row {
	uint32_t pid;
	uint64_t start, end; /* where it was last */
	char *task, *name;
	char rights[5];
	uint64_t dirty; /* of all generations */
	struct map_cell *cells;
};

struct change_map {
	struct generation *generations;
	size_t n_generations, room;
	struct map_row *rows;
	size_t n_rows, row_room;
};

/* Fills in the rows of generations that are in `map` (ascending, of one lineage).  R_OK or a result
 * that has been reported. */
int change_map_fill(struct store_view *view, struct change_map *map);
/* Writes the page: one file that needs no other and no script.  R_OK or R_FAILED with errno. */
int change_map_write(const struct change_map *map, FILE *out);
void change_map_free(struct change_map *map);

#endif
