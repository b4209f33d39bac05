/* How much of a file is in memory: cachestat(2), which the C library does not know. */
#ifndef SNAP_ENGINE_FILES_CACHESTAT_H
#define SNAP_ENGINE_FILES_CACHESTAT_H

#include <stdbool.h>
#include <stdint.h>

/* In pages, as <linux/mman.h> of Linux 6.5 lays it out. */
struct cache_pages {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Of the whole file.  False if the kernel does not tell; not reported. */
bool cache_pages_of(int fd, struct cache_pages *pages);

#endif
