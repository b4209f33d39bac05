#include "engine/proc/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define PAGE 4096u

/* The interface of PAGEMAP_SCAN (Linux 6.7; guards since 6.15), not in older headers. */
struct region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan)
#define SCAN_PROTECT (1u << 0) /* write-protect what matches */
#define SCAN_ASYNC (1u << 1)   /* fail where that is not asynchronous */
#define IS_ASYNC (1u << 0)
#define IS_WRITTEN (1u << 1)
#define IS_FILE (1u << 2)
#define IS_PRESENT (1u << 3)
#define IS_SWAPPED (1u << 4)
#define IS_ZERO_PAGE (1u << 5)
#define IS_GUARD (1u << 8)

/* Bits of a word of /proc/PID/pagemap. */
#define WORD_PRESENT (1ull << 63)
#define WORD_SWAPPED (1ull << 62)
#define WORD_FILE (1ull << 61)
#define WORD_GUARD (1ull << 58)
#define WORD_PROTECTED (1ull << 57)
#define WORD_EXCLUSIVE (1ull << 56) /* mapped here and nowhere else; never of the zero page */
#define WORD_SOFT_DIRTY (1ull << 55)

#define REGIONS 512

int pagemap_open(pid_t pid, struct pagemap *map)
{
	char path[64];

	memset(map, 0, sizeof(*map));
	map->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	map->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (map->fd >= 0)
		return R_OK;
	warn_errno("pid %d: cannot open %s", pid, path);
	return R_FAILED;
}

void pagemap_close(struct pagemap *map)
{
	if (map->fd >= 0)
		close(map->fd);
	map->fd = -1;
}

bool pagemap_is_protected(const struct pagemap *map, uint64_t address)
{
	uint64_t word;

	return pread(map->fd, &word, sizeof(word), (off_t)(address / PAGE * sizeof(word))) ==
		   sizeof(word) &&
	       word & WORD_PROTECTED;
}

/*
 * What is not in memory may be gone: that is for a close look to find out.  A read of what was
 * dropped or never there maps the shared zero page, which soft-dirty bits do not tell; only what is
 * mapped nowhere else is surely not that.
 */
static uint32_t marks_of(enum page_question question, uint64_t word)
{
	if (word & WORD_GUARD)
		return PAGE_MARK_GUARD;
	if (question != PAGES_SOFT_DIRTY)
		return PAGE_MARK_WRITTEN;
	return (word & WORD_SOFT_DIRTY || !(word & WORD_EXCLUSIVE) ? PAGE_MARK_WRITTEN : 0) |
	       (word & WORD_PRESENT ? PAGE_MARK_PRESENT : 0);
}

size_t pagemap_words(enum page_question question, const uint64_t *words, size_t count,
		     uint64_t start, struct page_range *ranges, size_t room, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = start + i * PAGE, word = words[i];
		bool guard = (word & WORD_GUARD) != 0;
		bool own = (word & (WORD_PRESENT | WORD_SWAPPED)) && !guard && !(word & WORD_FILE);
		uint32_t marks = marks_of(question, word);

		if (!(own && question != PAGES_GUARD) && !(guard && question != PAGES_OWN))
			continue;
		if (*n > 0 && ranges[*n - 1].end == at && ranges[*n - 1].marks == marks) {
			ranges[*n - 1].end += PAGE;
			continue;
		}
		if (*n == room)
			return i;
		ranges[*n].start = at;
		ranges[*n].end = at + PAGE;
		ranges[*n].marks = marks;
		(*n)++;
	}
	return count;
}

static int next_by_words(struct pagemap *map, enum page_question question, uint64_t *at,
			 uint64_t end, struct page_range *ranges, size_t room, size_t *n)
{
	uint64_t words[2048];
	size_t want = (end - *at) / PAGE, used;
	ssize_t got;

	if (want > sizeof(words) / sizeof(words[0]))
		want = sizeof(words) / sizeof(words[0]);
	do
		got = pread(map->fd, words, want * sizeof(words[0]),
			    (off_t)(*at / PAGE * sizeof(words[0])));
	while (got < 0 && errno == EINTR);
	if (got < (ssize_t)sizeof(words[0])) {
		if (got >= 0)
			errno = EIO;
		warn_errno("pid %d: reading the page map at 0x%lx", map->pid, (unsigned long)*at);
		return R_FAILED;
	}
	used = pagemap_words(question, words, (size_t)got / sizeof(words[0]), *at, ranges, room, n);
	*at += used * PAGE;
	return R_OK;
}

static void ask(const struct pagemap *map, enum page_question question, struct scan *scan)
{
	uint64_t not_these = IS_FILE | IS_ZERO_PAGE;

	switch (question) {
	case PAGES_GUARD:
		scan->category_mask = IS_GUARD;
		return;
	case PAGES_UNPROTECTED:
		/* Just this is what the kernel answers without looking at the pages themselves. */
		scan->flags = SCAN_ASYNC;
		scan->category_mask = IS_WRITTEN;
		scan->return_mask = IS_WRITTEN;
		return;
	case PAGES_ASYNC:
		scan->category_mask = IS_ASYNC;
		return;
	case PAGES_WRITTEN:
		scan->flags = SCAN_ASYNC;
		scan->category_mask = IS_WRITTEN;
		break;
	case PAGES_PROTECT:
		scan->flags = SCAN_ASYNC | SCAN_PROTECT;
		scan->category_mask = IS_WRITTEN;
		break;
	case PAGES_OWN_OR_GUARD:
		not_these = IS_FILE;
		scan->return_mask =
		    IS_PRESENT | IS_WRITTEN | IS_ZERO_PAGE | (map->no_guard ? 0 : IS_GUARD);
		break;
	case PAGES_OWN:
	case PAGES_SOFT_DIRTY: /* never asked this way */
		break;
	}
	if (!map->no_guard && question != PAGES_OWN_OR_GUARD)
		not_these |= IS_GUARD;
	scan->category_inverted = not_these;
	scan->category_mask |= not_these;
	scan->category_anyof_mask = IS_PRESENT | IS_SWAPPED;
}

static int next_by_scan(struct pagemap *map, enum page_question question, uint64_t *at,
			uint64_t end, struct page_range *ranges, size_t room, size_t *n)
{
	struct region regions[REGIONS];
	struct scan scan = {
		.size = sizeof(scan),
		.start = *at,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = room < REGIONS ? room : REGIONS,
	};
	int found;

	ask(map, question, &scan);
	do
		found = ioctl(map->fd, SCAN_IOCTL, &scan);
	while (found < 0 && errno == EINTR);
	if (found < 0)
		return R_FAILED;
	for (int i = 0; i < found; i++) {
		uint64_t is = regions[i].categories;

		/* Protected, it is what became of a page of zeroes when its huge page was split. */
		if (is & IS_ZERO_PAGE && is & IS_WRITTEN)
			continue;
		ranges[*n].start = regions[i].start;
		ranges[*n].end = regions[i].end;
		ranges[*n].marks = (is & IS_WRITTEN ? PAGE_MARK_WRITTEN : 0) |
				   (is & IS_PRESENT ? PAGE_MARK_PRESENT : 0) |
				   (is & IS_GUARD ? PAGE_MARK_GUARD : 0);
		(*n)++;
	}
	if (scan.walk_end <= *at) {
		errno = EIO;
		return R_FAILED;
	}
	*at = scan.walk_end;
	return R_OK;
}

int pagemap_next(struct pagemap *map, enum page_question question, uint64_t *at, uint64_t end,
		 struct page_range *ranges, size_t room, size_t *n)
{
	*n = 0;
	if (*at >= end)
		return R_OK;
	while (!map->no_scan && question != PAGES_SOFT_DIRTY) {
		if (question == PAGES_GUARD && map->no_guard) {
			/* The kernel's own way to tell them is missing, so there are none. */
			*at = end;
			return R_OK;
		}
		if (next_by_scan(map, question, at, end, ranges, room, n) == R_OK)
			return R_OK;
		if (errno == ENOTTY) {
			map->no_scan = true;
		} else if (errno == EINVAL && !map->no_guard) {
			map->no_guard = true;
		} else if (question >= PAGES_PROTECT) {
			return R_FAILED;
		} else {
			warn_errno("pid %d: scanning pages from 0x%lx", map->pid,
				   (unsigned long)*at);
			return R_FAILED;
		}
	}
	if (question >= PAGES_PROTECT)
		return R_FAILED;
	return next_by_words(map, question, at, end, ranges, room, n);
}
