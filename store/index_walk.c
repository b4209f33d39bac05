/*
 * The file of the index, page by page.  LMDB believes what its pages say: a bit that is wrong in
 * one of them can crash it, or make it hand out pages that are in use.  So before anything is
 * written every page the newest state uses is looked at, with this file's own eyes: is it what its
 * parent takes it for, are its entries within it and in order, is it used only once and not free.
 * What the entries say is index_check()'s to judge.
 *
 * The layout is that of LMDB 0.9 on a 64-bit little-endian machine.
 */
#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_HEAD 16u /* number 8, pad 2, flags 2, lower 2, upper 2 (or overflow pages 4) */
#define PAGE_BRANCH 1u
#define PAGE_LEAF 2u
#define PAGE_OVERFLOW 4u
#define NODE_HEAD 8u /* size or page low 2, high 2, flags or page 2, key size 2 */
#define NODE_BIG 1u
#define NODE_SUB 2u
#define META_MAGIC 0xbeefc0deu
#define META_DBS (PAGE_HEAD + 24)
#define META_LAST (META_DBS + 2 * DB_RECORD)
#define META_TXN (META_LAST + 8)
#define DB_RECORD \
	48u /* pad 4, flags 2, depth 2, branches, leaves, overflows, entries, root 8 each */
#define DB_INTEGER_KEYS 8u
#define NO_ROOT UINT64_MAX
#define DEPTH_MAX 32u
#define TRIES 100
#define FIRST_PAGE 2u /* behind the two meta pages */
/* Looked at before what was mapped on the way is let go again, with some around it: 32 MiB. */
#define LET_GO_PAGES 8192u

struct tree {
	unsigned int flags, depth;
	uint64_t branches, leaves, overflows, entries, root;
};

struct walk {
	const uint8_t *map;
	uint64_t pages; /* in the file */
	uint64_t last;	/* in use at most */
	size_t page_bytes;
	uint8_t *used; /* a bit each */
	uint64_t opened;
	bool all; /* tables that grow with the number of pages too */
	const char *bad;
};

/* What is being walked: counts for the tree, and whether its values are lists of free pages. */
struct branch {
	const struct tree *tree;
	struct tree seen;
	bool free_lists, subtrees;
};

static bool complain(struct walk *walk, const char *what)
{
	if (!walk->bad)
		walk->bad = what;
	return false;
}

static void read_tree(const uint8_t *raw, struct tree *tree)
{
	tree->flags = get_le16(raw + 4);
	tree->depth = get_le16(raw + 6);
	tree->branches = get_le64(raw + 8);
	tree->leaves = get_le64(raw + 16);
	tree->overflows = get_le64(raw + 24);
	tree->entries = get_le64(raw + 32);
	tree->root = get_le64(raw + 40);
}

/* Marks pages as used; false if one is out of range or used already. */
static bool claim(struct walk *walk, uint64_t first, uint64_t n)
{
	if (first < FIRST_PAGE || first > walk->last || n > walk->last - first + 1)
		return complain(walk, "a page number out of range");
	for (uint64_t i = first; i < first + n; i++) {
		if (walk->used[i / 8] >> i % 8 & 1)
			return complain(walk, "a page that is used twice");
		walk->used[i / 8] |= (uint8_t)(1u << i % 8);
	}
	return true;
}

/* The page, claimed, with the right number and kind in its head. */
static const uint8_t *open_page(struct walk *walk, uint64_t number, uint64_t n, unsigned int kind)
{
	const uint8_t *page = walk->map + number * walk->page_bytes;

	/* Addresses stay good, and what they show is read again. */
	if (++walk->opened % LET_GO_PAGES == 0)
		madvise((void *)walk->map, walk->pages * walk->page_bytes, MADV_DONTNEED);
	if (!claim(walk, number, n))
		return NULL;
	if (number + n > walk->pages) {
		complain(walk, "a page behind the end of the file");
		return NULL;
	}
	if (get_le64(page) != number || get_le16(page + 10) != kind) {
		complain(walk, "a page that is another one or of another kind");
		return NULL;
	}
	return page;
}

static int compare_keys(const struct branch *branch, const uint8_t *a, size_t a_size,
			const uint8_t *b, size_t b_size)
{
	size_t both = a_size < b_size ? a_size : b_size;
	int order;

	if (branch->tree->flags & DB_INTEGER_KEYS && a_size == 8 && b_size == 8)
		return (get_le64(a) > get_le64(b)) - (get_le64(a) < get_le64(b));
	order = memcmp(a, b, both);
	return order ? order : (a_size > b_size) - (a_size < b_size);
}

static bool walk_tree(struct walk *walk, const struct tree *tree, bool free_lists, bool subtrees);

/* A list of free pages: how many, then their numbers, descending. */
static bool walk_free(struct walk *walk, const uint8_t *value, uint64_t size)
{
	uint64_t n = size < 8 ? UINT64_MAX : get_le64(value);

	if (n > size / 8 - 1)
		return complain(walk, "a list of free pages that is too long");
	for (uint64_t i = 1; i <= n; i++)
		if (!claim(walk, get_le64(value + 8 * i), 1))
			return false;
	return true;
}

bool index_is_large(enum index_db db)
{
	return db == DB_HASH || db == DB_SEGMENT;
}

/* Whether the table of this entry is left out. */
static bool left_out(const struct walk *walk, const uint8_t *node)
{
	size_t size = get_le16(node + 6);

	for (int db = 0; !walk->all && db < DB_COUNT; db++)
		if (index_is_large(db) && size == strlen(index_db_names[db]) &&
		    memcmp(node + NODE_HEAD, index_db_names[db], size) == 0)
			return true;
	return false;
}

static bool walk_value(struct walk *walk, struct branch *branch, const uint8_t *node,
		       size_t room_bytes)
{
	uint64_t size = get_le16(node) | (uint64_t)get_le16(node + 2) << 16;
	unsigned int flags = get_le16(node + 4);
	const uint8_t *value = node + NODE_HEAD + get_le16(node + 6);
	size_t left = room_bytes - NODE_HEAD - get_le16(node + 6);

	branch->seen.entries++;
	if (flags == NODE_BIG) {
		uint64_t n = (PAGE_HEAD - 1 + size) / walk->page_bytes + 1;

		if (left < 8)
			return complain(walk, "an entry that does not fit its page");
		value = open_page(walk, get_le64(value), n, PAGE_OVERFLOW);
		if (!value)
			return false;
		if (get_le32(value + 12) != n)
			return complain(walk, "a long value of another length");
		branch->seen.overflows += n;
		value += PAGE_HEAD;
	} else if (size > left) {
		return complain(walk, "an entry that does not fit its page");
	}
	if (branch->subtrees) {
		struct tree sub;

		if (flags != NODE_SUB || size != DB_RECORD)
			return complain(walk, "a table that is none");
		read_tree(value, &sub);
		return left_out(walk, node) || walk_tree(walk, &sub, false, false);
	}
	if (flags != NODE_BIG && flags != 0)
		return complain(walk, "an entry of another kind");
	return branch->free_lists ? walk_free(walk, value, size) : true;
}

/* Entries of a page are between `low` (inclusive) and `high`; NULL: no bound. */
struct bounds {
	const uint8_t *low, *high;
	size_t low_size, high_size;
};

static bool walk_page(struct walk *walk, struct branch *branch, uint64_t number, unsigned int level,
		      struct bounds bounds);

static const uint8_t *node_at(struct walk *walk, const uint8_t *page, unsigned int i, size_t *room)
{
	size_t upper = get_le16(page + 14), offset = get_le16(page + PAGE_HEAD + 2 * (size_t)i);
	const uint8_t *node = page + offset;

	if (offset < upper || offset + NODE_HEAD > walk->page_bytes ||
	    get_le16(node + 6) > walk->page_bytes - offset - NODE_HEAD) {
		complain(walk, "an entry that does not fit its page");
		return NULL;
	}
	*room = walk->page_bytes - offset;
	return node;
}

/* Whether the key of entry `i` is where it belongs; moves the lower bound up to it. */
static bool in_order(struct walk *walk, const struct branch *branch, const uint8_t *node,
		     bool first, struct bounds *bounds)
{
	const uint8_t *key = node + NODE_HEAD;
	size_t size = get_le16(node + 6);

	if (bounds->low) {
		int order = compare_keys(branch, key, size, bounds->low, bounds->low_size);

		if (order < 0 || (order == 0 && !first))
			return complain(walk, "entries that are not in order");
	}
	if (bounds->high && compare_keys(branch, key, size, bounds->high, bounds->high_size) >= 0)
		return complain(walk, "entries that are not in order");
	bounds->low = key;
	bounds->low_size = size;
	return true;
}

static bool walk_branch(struct walk *walk, struct branch *branch, const uint8_t *page,
			unsigned int n, unsigned int level, struct bounds bounds)
{
	struct bounds at = bounds;

	for (unsigned int i = 0; i < n; i++) {
		size_t room, next_room;
		const uint8_t *node = node_at(walk, page, i, &room), *next;
		struct bounds child;
		uint64_t below;

		if (!node)
			return false;
		/* The first key of a branch is not used, and may be empty. */
		if (i > 0 && !in_order(walk, branch, node, i == 1, &at))
			return false;
		child = at;
		child.high = bounds.high;
		child.high_size = bounds.high_size;
		if (i + 1 < n) {
			next = node_at(walk, page, i + 1, &next_room);
			if (!next)
				return false;
			child.high = next + NODE_HEAD;
			child.high_size = get_le16(next + 6);
		}
		below = get_le16(node) | (uint64_t)get_le16(node + 2) << 16 |
			(uint64_t)get_le16(node + 4) << 32;
		if (!walk_page(walk, branch, below, level + 1, child))
			return false;
	}
	return true;
}

static bool walk_page(struct walk *walk, struct branch *branch, uint64_t number, unsigned int level,
		      struct bounds bounds)
{
	bool leaf = level == branch->tree->depth;
	const uint8_t *page = open_page(walk, number, 1, leaf ? PAGE_LEAF : PAGE_BRANCH);
	unsigned int lower, upper, n;

	if (!page)
		return false;
	lower = get_le16(page + 12);
	upper = get_le16(page + 14);
	if (lower < PAGE_HEAD || lower > upper || upper > walk->page_bytes || lower % 2)
		return complain(walk, "a page with impossible bounds");
	n = (lower - PAGE_HEAD) / 2;
	if (!leaf) {
		branch->seen.branches++;
		return n < 2 ? complain(walk, "a page with too few entries")
			     : walk_branch(walk, branch, page, n, level, bounds);
	}
	branch->seen.leaves++;
	for (unsigned int i = 0; i < n; i++) {
		size_t room;
		const uint8_t *node = node_at(walk, page, i, &room);

		if (!node || !in_order(walk, branch, node, i == 0, &bounds) ||
		    !walk_value(walk, branch, node, room))
			return false;
	}
	return true;
}

static bool walk_tree(struct walk *walk, const struct tree *tree, bool free_lists, bool subtrees)
{
	struct branch branch = { .tree = tree, .free_lists = free_lists, .subtrees = subtrees };
	const struct bounds none = { 0 };

	if (tree->root == NO_ROOT)
		return tree->entries == 0 && tree->depth == 0
			   ? true
			   : complain(walk, "a table without its pages");
	if (tree->depth == 0 || tree->depth > DEPTH_MAX)
		return complain(walk, "a table of impossible depth");
	if (!walk_page(walk, &branch, tree->root, 1, none))
		return false;
	if (branch.seen.branches != tree->branches || branch.seen.leaves != tree->leaves ||
	    branch.seen.overflows != tree->overflows || branch.seen.entries != tree->entries)
		return complain(walk, "a table with more or fewer pages than it says");
	return true;
}

#define META_BYTES (META_TXN + 8)

/*
 * Copies the meta page of that transaction, NULL if it is not there.  Of two commits, each takes
 * the page of the one before the other, so only one place is asked, and once: what others commit
 * between two looks must not pass for damage.  `*newer`: a later transaction has replaced it.
 */
static const uint8_t *find_meta(const struct walk *walk, uint64_t txn, uint8_t copy[META_BYTES],
				bool *newer)
{
	const volatile uint8_t *page = walk->map + txn % FIRST_PAGE * walk->page_bytes;
	uint64_t there;

	*newer = false;
	if (walk->pages < FIRST_PAGE)
		return NULL;
	for (size_t at = 0; at < META_BYTES; at++)
		copy[at] = page[at];
	there = get_le64((const uint8_t *)page + META_TXN);
	if (get_le32(copy + PAGE_HEAD) != META_MAGIC)
		return NULL;
	*newer = there > txn;
	return there == txn && get_le64(copy + META_TXN) == txn ? copy : NULL;
}

static bool walk_state(struct walk *walk, uint64_t txn, bool *newer)
{
	uint8_t copy[META_BYTES];
	const uint8_t *meta = find_meta(walk, txn, copy, newer);
	struct tree free_pages, tables;

	if (!meta || get_le32(meta + META_DBS) != walk->page_bytes)
		return complain(walk, "a meta page that is none");
	walk->last = get_le64(meta + META_LAST);
	if (walk->last >= (uint64_t)1 << 40)
		return complain(walk, "a meta page that is none");
	walk->used = calloc(1, walk->last / 8 + 1);
	if (!walk->used) {
		warn("out of memory");
		return false;
	}
	read_tree(meta + META_DBS, &free_pages);
	read_tree(meta + META_DBS + DB_RECORD, &tables);
	return walk_tree(walk, &tables, false, true) && walk_tree(walk, &free_pages, true, false);
}

/* The file as long as it is now, which is at least as long as the transaction needs. */
static int map_file(struct index *index, struct walk *walk)
{
	struct stat st;
	MDB_stat stat;
	void *map;
	int fd;

	if (mdb_env_get_fd(index->env, &fd) || mdb_env_stat(index->env, &stat) || fstat(fd, &st)) {
		warn_errno("index: cannot look at its file");
		return R_FAILED;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		warn_errno("index: cannot map its file");
		return R_FAILED;
	}
	walk->map = map;
	walk->page_bytes = stat.ms_psize;
	walk->pages = (uint64_t)st.st_size / walk->page_bytes;
	return R_OK;
}

static int walk_once(struct index *index, struct walk *walk, bool *newer)
{
	struct index_txn *txn;
	int result;

	if (index_read_begin(index, &txn) != R_OK)
		return R_FAILED;
	result = map_file(index, walk);
	if (result == R_OK) {
		index_depth++;
		if (!walk_state(walk, mdb_txn_id(txn->txn), newer))
			result = walk->bad ? R_DAMAGED : R_FAILED;
		index_depth--;
		munmap((void *)walk->map, walk->pages * walk->page_bytes);
		free(walk->used);
	}
	index_read_end(txn);
	return result;
}

int index_walk(struct index *index, bool all)
{
	/* A transaction that others have left two commits behind has no meta page any more. */
	for (int tries = 0; tries < TRIES; tries++) {
		struct walk walk = { .all = all };
		bool newer = false;
		int result = walk_once(index, &walk, &newer);

		if (result == R_DAMAGED && newer)
			continue;
		if (result == R_DAMAGED)
			index_damaged(walk.bad);
		return result;
	}
	return R_OK; /* too busy to be broken */
}
