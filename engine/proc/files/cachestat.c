#include "engine/proc/files/cachestat.h"

#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

bool cache_pages_of(int fd, struct cache_pages *pages)
{
	/* A length of 0 is up to the end. */
	struct {
		uint64_t off, len;
	} range = { 0, 0 };

	*pages = (struct cache_pages){ 0 };
	return syscall(SYS_cachestat, fd, &range, pages, 0) == 0;
}
