/* Which page a new one is stored as a difference to. */
#ifndef SNAP_STORE_BASE_CHOICE_H
#define SNAP_STORE_BASE_CHOICE_H

#include "store/store_internal.h"

/* What one thread chooses with. */
struct base_chooser;
struct base_chooser *base_chooser_new(void);
void base_chooser_free(struct base_chooser *chooser);

/*
 * Of the version before a page, `last`, and of all that this one is made of, the one nearest to the
 * full page which `page` differs from in hardly more words than from `last`; verified, its number
 * and bytes (valid until the next call).  So what is written again and again, or little by little,
 * has short chains, of at most `depth_max` differences.  R_OK; R_NOT_FOUND: the page had better be
 * stored in full, because none of them can be read or all have a long chain under them already;
 * R_FAILED.
 */
int base_choose(struct base_chooser *chooser, struct store_view *view, page_no last,
		uint32_t depth_max, const void *page, page_no *base, const uint8_t **bytes);

#endif
