/*
 * Which hashes may be in the hash index, in little memory: one that is not in the filter is not in
 * the index; one that is may be.
 */
#ifndef SNAP_STORE_HASH_FILTER_H
#define SNAP_STORE_HASH_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A byte for each entry, as far as that goes: then 3 % of the hashes that are not in the index are
 * in the filter, 8 % with 25 million entries. */
#define FILTER_BYTES_MAX ((size_t)16 << 20)

struct hash_filter;

/* For about so many entries.  NULL: out of memory, not reported, or too many for it to tell any. */
struct hash_filter *hash_filter_new(uint64_t entries);
void hash_filter_free(struct hash_filter *filter);

/* By hash_prefix().  Prefixes in ascending order are put in faster. */
void hash_filter_add(struct hash_filter *filter, uint64_t prefix);
bool hash_filter_may_have(const struct hash_filter *filter, uint64_t prefix);

#endif
