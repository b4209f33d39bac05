/* Shared by maps*.c. */
#ifndef SNAP_ENGINE_PROC_MAPS_INTERNAL_H
#define SNAP_ENGINE_PROC_MAPS_INTERNAL_H

#include "engine/proc/maps.h"

/* 65530 ranges is the usual limit of a process (vm.max_map_count), some raise it to a million; a
 * range takes about 700 bytes of smaps. */
#define MAPS_MAX_BYTES ((size_t)1 << 30)

/* In vma.flag_names, one this code does not know. */
#define MAPS_NAME_UNKNOWN (1ull << 63)

/* What a set of names means to a snapshot: enum vma_mark. */
uint32_t maps_marks(uint64_t flag_names);

/* As maps_read, by smaps. */
int maps_read_smaps(pid_t pid, struct maps *maps);

/* By other means; false (nothing is reported) if they do not tell all of this process. */
bool maps_read_fast(pid_t pid, struct maps *maps);

#endif
