/*
 * Where things lie in the running kernel, as it tells by /sys/kernel/btf/vmlinux
 * (CONFIG_DEBUG_INFO_BTF).
 */
#ifndef SNAP_ENGINE_PROC_BTF_H
#define SNAP_ENGINE_PROC_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One thing to be found: a function if `member` is NULL, else a member of a struct, also of unnamed
 * ones within that. */
struct btf_wanted {
	const char *name, *member;
	/* Out: the number of the function, or the offset in bytes. */
	uint32_t found;
};

/* True if all `n` were found. */
bool btf_find(struct btf_wanted *wanted, size_t n);

/* The same in `len` bytes of such a file, which may be anything. */
bool btf_find_in(const void *file, size_t len, struct btf_wanted *wanted, size_t n);

#endif
