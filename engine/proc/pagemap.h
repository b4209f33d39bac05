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
	uint32_t marks; /* for PAGES_OWN_OR_GUARD and PAGES_SOFT_DIRTY: PAGE_MARK_* */
};
#define PAGE_MARK_GUARD 1
#define PAGE_MARK_PRESENT 4 /* in memory */
#define PAGE_MARK_WRITTEN 2 /* since it was protected, or never protected */

/* What to look for. */
enum page_question {
	/* Anonymous pages, in memory or swapped out, other than the shared zero page and guards:
	 * what a private mapping has of its own. */
	PAGES_OWN,
	/* Ranges under MADV_GUARD_INSTALL. */
	PAGES_GUARD,
	/* Both of these, and what is protected of the shared zero page: pages that were the
	 * mapping's own when they were protected.  Linux puts it in the place of pages of zeroes
	 * when it splits a huge page (since 6.12), with their protection. */
	PAGES_OWN_OR_GUARD,
	/* The same; PAGE_MARK_WRITTEN is then what soft-dirty bits say, which no page has if the
	 * kernel knows none, and of what is or may be mapped elsewhere too (a fork's pages, the
	 * shared zero page); PAGE_MARK_PRESENT is told as well. */
	PAGES_SOFT_DIRTY,
	/* Those of PAGES_OWN that were written since they were protected, by userfaultfd in its
	 * asynchronous mode; they are protected anew.  Other modes fail. */
	PAGES_PROTECT,
	/* The same without protecting. */
	PAGES_WRITTEN,
	/* All that are not protected, present or not, the task's own or not; a quick look, which
	 * leaves out ranges that have no page table at all. */
	PAGES_UNPROTECTED,
	/* All, where userfaultfd protects in its asynchronous mode; none elsewhere. */
	PAGES_ASYNC,
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
 * shared zero page counts as own.  PAGES_PROTECT and what follows need it (R_FAILED, not
 * reported, without).  R_OK, R_FAILED (reported).
 */
int pagemap_next(struct pagemap *map, enum page_question question, uint64_t *at, uint64_t end,
		 struct page_range *ranges, size_t room, size_t *n);

/* True if this one page has a page table entry that is write-protected by userfaultfd. */
bool pagemap_is_protected(const struct pagemap *map, uint64_t address);

/*
 * The answer of PAGES_OWN or PAGES_GUARD for `count` words of /proc/PID/pagemap that begin at
 * address `start`.  Returns how many words were used up: all, unless `room` ranges are found
 * before.
 */
size_t pagemap_words(enum page_question question, const uint64_t *words, size_t count,
		     uint64_t start, struct page_range *ranges, size_t room, size_t *n);

#endif
