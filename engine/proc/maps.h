/*
 * The ranges of an address space, as /proc/PID/smaps tells them.
 */
#ifndef SNAP_ENGINE_PROC_MAPS_H
#define SNAP_ENGINE_PROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Marks of a range (the VmFlags line), those that matter to a snapshot. */
enum vma_mark {
	VMA_MARK_GROWSDOWN = 1 << 0,
	VMA_MARK_LOCKED = 1 << 1,
	VMA_MARK_LOCKONFAULT = 1 << 2,
	VMA_MARK_IO = 1 << 3,	  /* device memory */
	VMA_MARK_PFNMAP = 1 << 4, /* pages without a struct page */
	VMA_MARK_MIXEDMAP = 1 << 5,
	VMA_MARK_HUGETLB = 1 << 6,
	VMA_MARK_SEQUENTIAL = 1 << 7, /* madvise() advice, as are those that follow */
	VMA_MARK_RANDOM = 1 << 8,
	VMA_MARK_DONTFORK = 1 << 9,
	VMA_MARK_DONTDUMP = 1 << 10,
	VMA_MARK_HUGEPAGE = 1 << 11,
	VMA_MARK_NOHUGEPAGE = 1 << 12,
	VMA_MARK_MERGEABLE = 1 << 13,
	VMA_MARK_WIPEONFORK = 1 << 14,
	VMA_MARK_NORESERVE = 1 << 15,
	VMA_MARK_UFFD = 1 << 16, /* registered with a userfaultfd */
	VMA_MARK_SHADOW_STACK = 1 << 17,
	VMA_MARK_SEALED = 1 << 18,
	VMA_MARK_DROPPABLE = 1 << 19,
	VMA_MARK_SYNC = 1 << 20,     /* MAP_SYNC */
	VMA_MARK_MAYWRITE = 1 << 21, /* mprotect(PROT_WRITE) would be allowed */
	VMA_MARK_KEY = 1 << 23,	     /* has a protection key (pkey_mprotect) */
	VMA_MARK_UFFD_WP = 1 << 24,  /* of VMA_MARK_UFFD the one for write protection */
	VMA_MARK_UNKNOWN = 1 << 22,  /* a flag this code does not know: text in `unknown` */
};

struct vma {
	uint64_t start, end;
	uint64_t offset; /* in bytes; meaningless without a file */
	uint32_t prot;	 /* PROT_* */
	bool shared;
	bool has_flags; /* a VmFlags line was there */
	bool deleted;	/* the name ended in " (deleted)", now cut off */
	uint32_t marks;
	char unknown[3];
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	uint32_t page_kib; /* KernelPageSize */
	/* Of anonymous pages, and of those that others have mapped too: by smaps only. */
	uint64_t anon_kib, shared_kib;
	bool shares_pages;   /* some of its own pages may be shared copy-on-write */
	uint64_t flag_names; /* inside maps*.c */
	const char *name;    /* within the text; "" if none */
	bool tracked;	     /* writes to it are noted (engine/proc/capture/track.h) */
	bool enrolled;	     /* and will be from now on */
};

struct maps {
	struct vma *vmas; /* ascending, not overlapping */
	size_t n;
	char *text; /* what names point into */
};

/*
 * Parses `len` bytes of smaps (or maps) text, which become the property of `maps` in any case and
 * must be followed by a NUL.  R_OK, or R_DAMAGED (not reported) for anything but what a kernel
 * writes: lines that do not parse, ranges that are empty, unaligned, overlapping or descending.
 */
int maps_parse(char *text, size_t len, struct maps *maps);
void maps_free(struct maps *maps);

/* Makes maps_read() fast where the kernel lets us; for the time before a freeze. */
void maps_ready(void);

/* Reads those of a process.  R_OK, R_NOT_FOUND (it is gone, not reported), R_FAILED (reported). */
int maps_read(pid_t pid, struct maps *maps);

#endif
