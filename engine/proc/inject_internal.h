/* Shared by inject_site.c and inject_code.c: the ranges of a target, and where its code is. */
#ifndef SNAP_ENGINE_PROC_INJECT_INTERNAL_H
#define SNAP_ENGINE_PROC_INJECT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/arch/arch.h"

struct maps;

struct mapping {
	uint64_t start, end;
	char perms[5];
	uint64_t offset, inode;
	uint32_t device;
	const char *name; /* up to the line's end */
	bool grows;	  /* downwards, as a stack does; not told by mappings_read() */
};

/* All of an address space. */
struct mappings {
	struct mapping *list;
	size_t n;
	char *text; /* that names lie in, if it is ours */
};

/* Reads those of a process as they are now.  R_OK: mappings_free() follows; R_NOT_FOUND with errno
 * set; R_FAILED (reported). */
int mappings_read(pid_t pid, struct mappings *all);
/* The same from what has been read already, and lives longer.  R_OK or R_FAILED. */
int mappings_of(pid_t pid, const struct maps *maps, struct mappings *all);
void mappings_free(struct mappings *all);

/* Is that all of its name? */
bool mapping_is_named(const struct mapping *m, const char *name);

/* Where pieces of code of each kind are in a process; what is not found stays 0. */
void inject_code_find(pid_t pid, const struct mappings *maps, uint64_t found[ARCH_GADGET_COUNT]);

#endif
