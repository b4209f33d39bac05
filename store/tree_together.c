/* Many page trees side by side: each node is read once, however many of them share it. */
#include "base/result.h"
#include "base/warn.h"
#include "store/tree.h"

#include <stdlib.h>
#include <string.h>

struct together {
	struct store_view *view;
	const struct object *objects;
	size_t n;
	/* For each level from 1 on and each tree: its node there, and the node's numbers, which are
	 * those of a tree before it where the node is the same. */
	page_no *nodes[TREE_HEIGHT_MAX + 1];
	page_no (*entries[TREE_HEIGHT_MAX + 1])[NODE_ENTRIES];
	const page_no **leaves[TREE_HEIGHT_MAX + 1];
	int (*fn)(uint64_t index, const page_no *const *leaves, void *arg);
	void *arg;
	bool damaged; /* a node was, and was passed over */
};

/* Above its top a tree is the first entry of a node that only has this one; nothing is below a
 * damaged node. */
static int read_node(struct together *t, size_t i, unsigned int level, page_no node)
{
	page_no *entries = t->entries[level][i];
	int result;

	if (level > t->objects[i].height) {
		memset(entries, 0, sizeof(t->entries[level][i]));
		entries[0] = node;
		return R_OK;
	}
	result = tree_node(t->view, node, entries);
	if (result != R_DAMAGED)
		return result;
	warn("page %llu of the store, a node of a page tree, is damaged: run snap verify --data",
	     (unsigned long long)node);
	memset(entries, 0, sizeof(t->entries[level][i]));
	t->damaged = true;
	return R_OK;
}

static bool same_as_before(const struct together *t, size_t i, unsigned int level)
{
	return i > 0 && t->nodes[level][i] == t->nodes[level][i - 1] &&
	       (level <= t->objects[i].height) == (level <= t->objects[i - 1].height);
}

/* The nodes of `level` are in place, PAGE_ABSENT for trees that have none. */
static int visit(struct together *t, unsigned int level, uint64_t base)
{
	const page_no **leaves = t->leaves[level];
	bool present = false;
	int result = R_OK;

	for (size_t i = 0; result == R_OK && i < t->n; i++) {
		leaves[i] = NULL;
		if (t->nodes[level][i] == PAGE_ABSENT)
			continue;
		present = true;
		if (same_as_before(t, i, level)) {
			leaves[i] = leaves[i - 1];
			continue;
		}
		result = read_node(t, i, level, t->nodes[level][i]);
		leaves[i] = t->entries[level][i];
	}
	/* None of them has a page at all. */
	if (!present)
		return result;
	if (result == R_OK && level == 1)
		return t->fn(base, leaves, t->arg);
	for (size_t k = 0; result == R_OK && k < NODE_ENTRIES; k++) {
		bool any = false;

		for (size_t i = 0; i < t->n; i++) {
			t->nodes[level - 1][i] = leaves[i] ? leaves[i][k] : PAGE_ABSENT;
			any |= t->nodes[level - 1][i] != PAGE_ABSENT;
		}
		if (any)
			result = visit(t, level - 1, base + ((uint64_t)k << 9 * (level - 1)));
	}
	return result;
}

static unsigned int top_of(const struct together *t)
{
	unsigned int top = 1;

	for (size_t i = 0; i < t->n; i++)
		if (t->objects[i].height > top)
			top = t->objects[i].height;
	return top;
}

int store_objects_walk(struct store_view *view, const struct object *objects, size_t n,
		       int (*fn)(uint64_t index, const page_no *const *leaves, void *arg),
		       void *arg)
{
	struct together t = { .view = view, .objects = objects, .n = n, .fn = fn, .arg = arg };
	unsigned int top = top_of(&t);
	bool whole = true;
	int result = R_FAILED;

	if (!n)
		return R_OK;
	if (top > TREE_HEIGHT_MAX)
		return R_DAMAGED;
	for (unsigned int level = 1; level <= top; level++) {
		t.nodes[level] = calloc(n, sizeof(*t.nodes[level]));
		t.entries[level] = calloc(n, sizeof(*t.entries[level]));
		t.leaves[level] = calloc(n, sizeof(*t.leaves[level]));
		whole &= t.nodes[level] && t.entries[level] && t.leaves[level];
	}
	if (whole) {
		for (size_t i = 0; i < n; i++)
			t.nodes[top][i] = objects[i].root;
		result = visit(&t, top, 0);
		if (result == R_OK && t.damaged)
			result = R_DAMAGED;
	} else {
		warn("out of memory");
	}
	for (unsigned int level = 1; level <= top; level++) {
		free(t.nodes[level]);
		free(t.entries[level]);
		free(t.leaves[level]);
	}
	return result;
}
