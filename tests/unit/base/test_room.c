/* Pieces of memory never overlap, whatever comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/room.h"

#define PIECES 200

struct piece {
	uint8_t *at;
	size_t size;
	uint8_t mark;
};

static size_t random_size(void)
{
	static const size_t kinds[] = { 4096, 65536, 140000, 1065000, 2097152, 3000000 };

	return kinds[(size_t)rand() % 6] / 2 + (size_t)rand() % (kinds[(size_t)rand() % 3] / 2);
}

/* Marks both ends, and what is between here and there. */
static void mark(const struct piece *piece)
{
	for (size_t i = 0; i < piece->size; i += 1024)
		piece->at[i] = piece->mark;
	piece->at[piece->size - 1] = piece->mark;
}

static void assert_marked(const struct piece *piece)
{
	for (size_t i = 0; i < piece->size; i += 1024)
		assert_int_equal(piece->at[i], piece->mark);
	assert_int_equal(piece->at[piece->size - 1], piece->mark);
}

/* What comes and goes in one thread. */
static void *use_pieces(void *arg)
{
	struct piece pieces[PIECES] = { 0 };

	(void)arg;
	for (size_t i = 0; i < 5000; i++) {
		struct piece *piece = &pieces[(size_t)rand() % PIECES];

		if (piece->at) {
			assert_marked(piece);
			room_put(piece->at, piece->size);
			piece->at = NULL;
			continue;
		}
		*piece = (struct piece){ .size = random_size(), .mark = (uint8_t)rand() };
		piece->at = room_get(piece->size);
		assert_non_null(piece->at);
		assert_int_equal((uintptr_t)piece->at % 16, 0);
		mark(piece);
	}
	for (size_t i = 0; i < PIECES; i++) {
		if (pieces[i].at)
			assert_marked(&pieces[i]);
		room_put(pieces[i].at, pieces[i].at ? pieces[i].size : 1);
	}
	return NULL;
}

static void test_pieces_do_not_overlap(void **state)
{
	(void)state;
	srand(1);
	use_pieces(NULL);
}

/* Each marks its own, and all get stretches and give them back at the same time. */
static void test_nor_those_of_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_pieces, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void test_a_whole_stretch(void **state)
{
	uint8_t *a = room_get((size_t)2 << 20), *b = room_get((size_t)2 << 20);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	memset(a, 1, (size_t)2 << 20);
	memset(b, 2, (size_t)2 << 20);
	assert_int_equal(a[((size_t)2 << 20) - 1], 1);
	room_put(a, (size_t)2 << 20);
	room_put(b, (size_t)2 << 20);
	assert_true(room_taken(100000) >= 100000);
	assert_int_equal(room_taken(100), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_do_not_overlap),
		cmocka_unit_test(test_nor_those_of_threads),
		cmocka_unit_test(test_a_whole_stretch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
