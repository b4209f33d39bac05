/*
 * Secret memory (memfd_secret(2)) of generations.  It is stored encrypted, and nothing of it is
 * shown but its size unless the user asks for it by name.
 */
#ifndef SNAP_ENGINE_LOOK_SECRET_H
#define SNAP_ENGINE_LOOK_SECRET_H

#include "engine/look/changes.h"
#include "store/seal.h"

/*
 * Opens the sealed object `name` of a generation to be shown.  `keys` may be NULL: the store has
 * none.  R_OK; R_NOT_FOUND (not reported); R_UNSUPPORTED (no key, reported); R_DAMAGED; R_FAILED.
 */
int look_secret_open(struct store_view *view, uint64_t generation, const char *name,
		     const struct store_keys *keys, struct sealed **sealed);

/*
 * Calls `fn` for each change of the secret `name` from one generation to another, either of which
 * may be without it, as look_changes() does.
 */
int look_secret_changes(struct store_view *view, uint64_t before, uint64_t after, const char *name,
			const struct store_keys *keys,
			int (*fn)(const struct look_change *change, void *arg), void *arg);

#endif
