/*
 * Sealed objects: contents that only the store's keys make readable.
 *
 * One is a pair of objects of a generation: its pages, each encrypted by itself and lying at its
 * own index, as "sealed-NAME", and a table of what they are, as "seal-NAME".  Both are stored as
 * object_begin_sealed() of dedup/ says.  The layout is in store/FORMAT.md.
 *
 * To show contents of a generation: where sealed_is() says that an object is sealed, say so instead
 * of showing it, unless the user has asked for secrets by name (--reveal-secrets); then
 * store_keys_open(), sealed_open(), and sealed_read() into memory from sealed_buffer(), which is
 * locked, left out of core dumps, and wiped by sealed_buffer_free().
 */
#ifndef SNAP_STORE_SEAL_H
#define SNAP_STORE_SEAL_H

#include "store/keys.h"
#include "store/store.h"

/* What their names begin with. */
#define SEALED_PREFIX "sealed-"
#define SEAL_TABLE_PREFIX "seal-"

/* Does an object of this name hold encrypted bytes (pages or table)? */
bool sealed_is(const char *object_name);

/* ---- writing ---- */

struct sealer;

/* Begins the sealed object `name` (with SEALED_PREFIX) of `size_bytes`.  NULL: reported. */
struct sealer *sealer_begin(const struct store_keys *keys, const char *name, uint64_t size_bytes);
/* Encrypts one page of PAGE_BYTES; indexes ascend.  R_OK or R_FAILED (reported). */
int sealer_page(struct sealer *sealer, uint64_t index, const void *plain, void *cipher);
/* Its table, in whole pages, valid until the next call; `*name` is what it is to be stored as.
 * NULL: reported. */
const void *sealer_table(struct sealer *sealer, size_t *pages, uint64_t *length_bytes,
			 const char **name);
void sealer_free(struct sealer *sealer);

/* ---- reading ---- */

struct sealed;

/*
 * Opens the sealed object `name` (with SEALED_PREFIX) of a generation and checks its table.  `view`
 * and `keys` have to stay open.  R_OK; R_NOT_FOUND (not reported); R_UNSUPPORTED: `keys` has not
 * the key it was sealed with (reported); R_DAMAGED (reported); R_FAILED.
 */
int sealed_open(struct store_view *view, uint64_t generation, const char *name,
		const struct store_keys *keys, struct sealed **sealed);
void sealed_close(struct sealed *sealed);

/* What it was begun with. */
uint64_t sealed_size(const struct sealed *sealed);

/* The first page present at `*index` or behind it; false if there is none.  Pages not present read
 * as zeroes and were never touched. */
bool sealed_next(const struct sealed *sealed, uint64_t *index);

/* Decrypts `n` pages from `index` on.  R_OK, R_DAMAGED (reported; `buf` has then nothing of the
 * damaged page), R_FAILED. */
int sealed_read(struct sealed *sealed, uint64_t index, size_t n, void *buf);

/* Decrypts all of it, to nowhere.  As sealed_read(). */
int sealed_check(struct sealed *sealed);

/* Memory for what was decrypted.  NULL: reported. */
void *sealed_buffer(size_t bytes);
void sealed_buffer_free(void *buffer);

#endif
