/* Where two page trees differ: equal subtrees have equal numbers and are passed over unread. */
#include "base/result.h"
#include "base/warn.h"
#include "store/tree.h"

struct diff {
	struct store_view *view;
	unsigned int heights[2];
	int (*fn)(uint64_t index, page_no before, page_no after, void *arg);
	void *arg;
};

/* The entries of a place at `level` of one of the trees.  Above its top a tree is the first entry.
 */
static int entries_of(const struct diff *d, int side, page_no node, unsigned int level,
		      page_no entries[NODE_ENTRIES])
{
	int result;

	for (size_t i = 0; i < NODE_ENTRIES; i++)
		entries[i] = PAGE_ABSENT;
	if (node == PAGE_ABSENT)
		return R_OK;
	if (level > d->heights[side]) {
		entries[0] = node;
		return R_OK;
	}
	result = tree_node(d->view, node, entries);
	if (result == R_DAMAGED)
		warn("a node of a page tree (page %llu) is damaged; see snap verify",
		     (unsigned long long)node);
	return result;
}

static int visit(const struct diff *d, page_no before, page_no after, unsigned int level,
		 uint64_t base)
{
	page_no a[NODE_ENTRIES], b[NODE_ENTRIES];
	int result;

	/* At a place above the top of one tree equal numbers are of different levels. */
	if (before == after &&
	    (before == PAGE_ABSENT || (level <= d->heights[0] && level <= d->heights[1])))
		return R_OK;
	if (level == 0)
		return d->fn(base, before, after, d->arg);
	result = entries_of(d, 0, before, level, a);
	if (result == R_OK)
		result = entries_of(d, 1, after, level, b);
	for (size_t i = 0; result == R_OK && i < NODE_ENTRIES; i++)
		result = visit(d, a[i], b[i], level - 1, base + ((uint64_t)i << 9 * (level - 1)));
	return result;
}

int store_object_diff(struct store_view *view, const struct object *before,
		      const struct object *after,
		      int (*fn)(uint64_t index, page_no before, page_no after, void *arg),
		      void *arg)
{
	struct diff d = { .view = view, .fn = fn, .arg = arg };

	d.heights[0] = before ? before->height : 0;
	d.heights[1] = after ? after->height : 0;
	if (d.heights[0] > TREE_HEIGHT_MAX || d.heights[1] > TREE_HEIGHT_MAX)
		return R_DAMAGED;
	return visit(&d, before ? before->root : PAGE_ABSENT, after ? after->root : PAGE_ABSENT,
		     d.heights[0] > d.heights[1] ? d.heights[0] : d.heights[1], 0);
}
