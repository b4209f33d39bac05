/*
 * Which pages of a range hold something of the process's own.
 */
#ifndef SNAP_ENGINE_PROC_PAGEMAP_H
#define SNAP_ENGINE_PROC_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A run of whole pages. */
struct page_range {
	uint64_t start, end;
};

/* What to look for. */
enum page_question {
	/* Anonymous pages, in memory or swapped out, other than the shared zero page and guards:
	 * what a private mapping has of its own. */
	PAGES_OWN,
	/* Ranges under MADV_GUARD_INSTALL. */
	PAGES_GUARD,
};

struct pagemap {
	pid_t pid;
	int fd;
	bool no_scan;  /* the kernel has no PAGEMAP_SCAN */
	bool no_guard; /* ... or does not tell guards */
};

/* Opens /proc/PID/pagemap.  R_OK, or R_FAILED reported. */
int pagemap_open(pid_t pid, struct pagemap *map);
void pagemap_close(struct pagemap *map);

/*
 * Finds the next ranges within `*at` .. `end` and moves `*at` behind what was looked through.  At
 * most `room` ranges, ascending; `*n` may be 0 while `*at` < `end`.  Without PAGEMAP_SCAN the
 * shared zero page counts as own.  R_OK, R_FAILED (reported).
 */
int pagemap_next(struct pagemap *map, enum page_question question, uint64_t *at, uint64_t end,
		 struct page_range *ranges, size_t room, size_t *n);

/*
 * The answer of PAGES_OWN or PAGES_GUARD for `count` words of /proc/PID/pagemap that begin at
 * address `start`.  Returns how many words were used up: all, unless `room` ranges are found
 * before.
 */
size_t pagemap_words(enum page_question question, const uint64_t *words, size_t count,
		     uint64_t start, struct page_range *ranges, size_t room, size_t *n);

#endif
