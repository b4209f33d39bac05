/*
 * The kernel's own word of flags for each range of an address space, by a BPF iterator (Linux 6.1,
 * with BTF, CAP_SYS_ADMIN or CAP_BPF and CAP_PERFMON).
 *
 * Otherwise only smaps tells flags, and that looks at each page there is, 20 ms for a GiB.
 */
#ifndef SNAP_ENGINE_PROC_VMA_BITS_H
#define SNAP_ENGINE_PROC_VMA_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vma_bits {
	uint64_t start, end;
	uint64_t bits;
	/* Anonymous pages of it may be shared with processes that were forked. */
	uint64_t forked;
};

/* Makes ready for vma_bits_read(); takes some ms the first time.  False if there is no such way
 * here. */
bool vma_bits_ready(void);

/* The ranges of a process, in ascending order; `*list` is freed by the caller.  False if that fails
 * (nothing is reported), so that smaps is needed. */
bool vma_bits_read(pid_t pid, struct vma_bits **list, size_t *n);

#endif
