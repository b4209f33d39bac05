/* Page trees side by side, of one height and of several: walked together, and what differs. */
#include "scratch.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OBJECTS 7u
#define LEAF 512u
#define PAGES_MAX 1200u

/* Runs of pages: where they begin, how many, and of which contents. */
struct run {
	uint64_t index, n, seed;
};

/* A height of 0 to 3; the first two are the same, the third differs in a page, the last is empty.
 */
static const struct run runs[OBJECTS][4] = {
	{ { 0, 600, 1 }, { 900, 3, 1 } },
	{ { 0, 600, 1 }, { 900, 3, 1 } },
	{ { 0, 300, 1 }, { 300, 1, 2 }, { 301, 299, 1 }, { 900, 3, 1 } },
	{ { 0, 1, 1 } },
	{ { 0, 1, 1 }, { LEAF * LEAF - 1, 3, 3 } },
	{ { 7, 5, 1 } },
	{ { 0, 0, 0 } },
};

/* What is present, in ascending order. */
struct listed {
	uint64_t index[PAGES_MAX];
	page_no number[PAGES_MAX];
	size_t n;
};

static struct listed alone[OBJECTS], together[OBJECTS];
static struct object objects[OBJECTS];
static page_no damaged_node; /* reads as damaged */
static size_t shared_leaves;

int __real_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES]);
int __wrap_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES]);
int __wrap_tree_node(struct store_view *view, page_no number, page_no entries[NODE_ENTRIES])
{
	if (number == damaged_node)
		return R_DAMAGED;
	return __real_tree_node(view, number, entries);
}

static void add(struct listed *list, uint64_t index, page_no number)
{
	assert_true(list->n < PAGES_MAX);
	assert_true(list->n == 0 || list->index[list->n - 1] < index);
	list->index[list->n] = index;
	list->number[list->n++] = number;
}

static int add_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	for (size_t i = 0; i < n; i++)
		add(arg, index + i, numbers[i]);
	return R_OK;
}

static struct store_view *make(struct store *store)
{
	static uint8_t page[PAGE_BYTES];
	struct generation gen = { .root_pid = 1, .lineage = "a" };
	struct object_writer *writer;
	struct store_view *view;
	struct ingest *ingest;
	char name[16];

	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	for (size_t i = 0; i < OBJECTS; i++) {
		uint64_t end = 0;

		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(object_begin(ingest, name, &writer), R_OK);
		for (size_t r = 0; r < 4 && runs[i][r].n; r++) {
			for (uint64_t k = 0; k < runs[i][r].n; k++) {
				end = runs[i][r].index + k;
				scratch_page(runs[i][r].seed, end, page);
				assert_int_equal(object_pages(writer, end, page, 1), R_OK);
			}
			end++;
		}
		assert_int_equal(object_end(writer, end * PAGE_BYTES), R_OK);
	}
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	assert_int_equal(store_view_open(store, &view), R_OK);
	memset(alone, 0, sizeof(alone));
	for (size_t i = 0; i < OBJECTS; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(store_object(view, gen.number, name, &objects[i]), R_OK);
		assert_int_equal(
		    store_object_walk(view, &objects[i], 0, UINT64_MAX, add_run, &alone[i]), R_OK);
	}
	return view;
}

static int see_leaves(uint64_t index, const page_no *const *leaves, void *arg)
{
	size_t n = *(size_t *)arg;
	bool any = false;

	assert_int_equal(index % LEAF, 0);
	for (size_t i = 0; i < n; i++) {
		any |= leaves[i] != NULL;
		shared_leaves += i > 0 && leaves[i] && leaves[i] == leaves[i - 1];
		for (size_t k = 0; leaves[i] && k < LEAF; k++)
			if (leaves[i][k] != PAGE_ABSENT)
				add(&together[i], index + k, leaves[i][k]);
	}
	assert_true(any);
	return R_OK;
}

static void same_as_alone(size_t i)
{
	assert_int_equal(together[i].n, alone[i].n);
	assert_memory_equal(together[i].index, alone[i].index, alone[i].n * sizeof(uint64_t));
	assert_memory_equal(together[i].number, alone[i].number, alone[i].n * sizeof(page_no));
}

static void walked(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_view *view = make(store);
	size_t n = OBJECTS;

	/* Otherwise this is no test of heights. */
	assert_true(objects[0].height == 2 && objects[3].height == 0 && objects[4].height == 3);
	assert_true(alone[0].n == 603 && alone[4].n == 4 && alone[6].n == 0);
	memset(together, 0, sizeof(together));
	shared_leaves = 0;
	assert_int_equal(store_objects_walk(view, objects, n, see_leaves, &n), R_OK);
	for (size_t i = 0; i < n; i++)
		same_as_alone(i);
	/* The two leaves of the second are those of the first; the third has one of them. */
	assert_true(shared_leaves >= 3);
	/* The other way round, one by one, and none. */
	for (size_t i = 0; i < OBJECTS; i++) {
		n = 1;
		memset(together, 0, sizeof(together));
		assert_int_equal(store_objects_walk(view, &objects[i], n, see_leaves, &n), R_OK);
		assert_int_equal(together[0].n, alone[i].n);
	}
	assert_int_equal(store_objects_walk(view, objects, 0, see_leaves, &n), R_OK);
	store_view_close(view);
	store_close(store);
}

/* A damaged node hides what is below it in the trees that have it, and nothing else. */
static void around_damage(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_view *view = make(store);
	page_no entries[NODE_ENTRIES];
	size_t n = OBJECTS;

	assert_int_equal(__real_tree_node(view, objects[2].root, entries), R_OK);
	damaged_node = entries[0];
	memset(together, 0, sizeof(together));
	assert_int_equal(store_objects_walk(view, objects, n, see_leaves, &n), R_DAMAGED);
	damaged_node = 0;
	for (size_t i = 0; i < n; i++)
		if (i != 2)
			same_as_alone(i);
	/* Pages 512 to 599, and the three behind. */
	assert_int_equal(together[2].n, 600 - LEAF + 3);
	assert_int_equal(together[2].index[0], LEAF);
	store_view_close(view);
	store_close(store);
}

struct compared {
	const struct listed *before, *after;
	uint64_t next;
	size_t n;
};

static page_no number_at(const struct listed *list, uint64_t index)
{
	for (size_t i = 0; list && i < list->n; i++)
		if (list->index[i] == index)
			return list->number[i];
	return PAGE_ABSENT;
}

static int see_difference(uint64_t index, page_no before, page_no after, void *arg)
{
	struct compared *c = arg;

	assert_true(index >= c->next);
	c->next = index + 1;
	c->n++;
	assert_true(before != after);
	assert_int_equal(before, number_at(c->before, index));
	assert_int_equal(after, number_at(c->after, index));
	return R_OK;
}

static size_t expected_differences(const struct listed *a, const struct listed *b)
{
	size_t n = 0;

	for (size_t i = 0; a && i < a->n; i++)
		n += number_at(b, a->index[i]) != a->number[i];
	for (size_t i = 0; b && i < b->n; i++)
		n += number_at(a, b->index[i]) == PAGE_ABSENT;
	return n;
}

/* Each with each, and with nothing. */
static void compared(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_view *view = make(store);

	for (size_t i = 0; i <= OBJECTS; i++) {
		for (size_t k = 0; k <= OBJECTS; k++) {
			struct compared c = { .before = i < OBJECTS ? &alone[i] : NULL,
					      .after = k < OBJECTS ? &alone[k] : NULL };

			assert_int_equal(store_object_diff(view, i < OBJECTS ? &objects[i] : NULL,
							   k < OBJECTS ? &objects[k] : NULL,
							   see_difference, &c),
					 R_OK);
			assert_int_equal(c.n, expected_differences(c.before, c.after));
		}
	}
	assert_int_equal(expected_differences(&alone[0], &alone[2]), 1);
	store_view_close(view);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(walked, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(around_damage, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(compared, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
