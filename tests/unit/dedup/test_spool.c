/* What is handed over while a target stands still is what is stored, however much of it may be
 * remembered: what exceeds that is taken in at once. */
#include "dedup/spool.h"

#include "../store/scratch.h"
#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define PAGES 2000u
#define BATCH 96u

/* As a take does it: into the room of the spool where there is any, else from elsewhere. */
static void hand_over(struct object_writer *writer, bool into_room)
{
	static uint8_t elsewhere[BATCH * PAGE_BYTES];

	for (size_t i = 0; i < PAGES;) {
		size_t n = PAGES - i < BATCH ? PAGES - i : BATCH;
		uint8_t *pages = into_room ? object_room(writer, &n) : NULL;

		if (!pages)
			pages = elsewhere;
		for (size_t k = 0; k < n; k++)
			scratch_page(1, i + k, pages + k * PAGE_BYTES);
		assert_int_equal(object_pages(writer, i, pages, n), R_OK);
		i += n;
	}
}

static void take(struct store *store, size_t max_bytes, size_t ready_bytes, bool into_room,
		 struct generation *gen)
{
	struct object_writer *writer;
	struct ingest *ingest;

	memset(gen, 0, sizeof(*gen));
	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(ingest_spool(ingest, max_bytes, ready_bytes), R_OK);
	assert_int_equal(object_begin(ingest, "pages-1", &writer), R_OK);
	hand_over(writer, into_room);
	assert_int_equal(object_end(writer, PAGES * PAGE_BYTES), R_OK);
	assert_int_equal(ingest_unspool(ingest), R_OK);
	assert_int_equal(ingest_commit(ingest, gen), R_OK);
}

static void check(struct store *store, uint64_t generation)
{
	uint8_t expected[PAGE_BYTES];
	struct store_view *view;
	struct object object;
	void *data;
	size_t len;

	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(store_object(view, generation, "pages-1", &object), R_OK);
	assert_int_equal(store_read_object(view, &object, &data, &len), R_OK);
	assert_int_equal(len, PAGES * PAGE_BYTES);
	for (size_t i = 0; i < PAGES; i++) {
		scratch_page(1, i, expected);
		assert_memory_equal((uint8_t *)data + i * PAGE_BYTES, expected, PAGE_BYTES);
	}
	free(data);
	store_view_close(view);
}

static void any_bound(void **state)
{
	static const size_t bounds[] = { 0,	  PAGE_BYTES,		MIB,	 2 * MIB,
					 3 * MIB, 4 * MIB + PAGE_BYTES, 5 * MIB, 16 * MIB };
	struct store *store = scratch_open(*state);

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		for (int way = 0; way < 4; way++) {
			size_t ready_bytes = way & 1 ? bounds[i] : 0;
			struct generation gen;

			take(store, bounds[i], ready_bytes, way & 2, &gen);
			check(store, gen.number);
		}
	}
	store_close(store);
}

/* The room that is handed out, page by page, is within the bound. */
static void bound_is_kept(void **state)
{
	static const size_t bounds[] = { PAGE_BYTES, 2 * MIB, 3 * MIB, 4 * MIB };

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		struct spool *spool = spool_new(bounds[i], bounds[i]);
		struct spool_record record = { .verb = SPOOL_PAGES };
		static const uint8_t page[PAGE_BYTES];
		size_t added = 0, n = 1;

		assert_non_null(spool);
		while (added < PAGES && (record.pages = spool_room(spool, &n))) {
			record.index = added;
			record.n = n;
			assert_int_equal(spool_add(spool, &record), R_OK);
			added += n;
		}
		assert_true(added * PAGE_BYTES <= bounds[i]);
		record.index = added;
		record.n = 1;
		record.pages = page;
		assert_int_equal(spool_add(spool, &record), R_BUSY);
		spool_free(spool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(any_bound, scratch_setup, scratch_teardown),
		cmocka_unit_test(bound_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
