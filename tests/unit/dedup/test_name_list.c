/* The names of a generation's objects: what is in the list is found, what was taken out is not, and
 * the bytes are the directory that the store keeps. */
#include "dedup/name_list.h"

#include "base/endian.h"
#include "base/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Enough for several growths of both tables. */
#define NAMES 3000u

static const char *name_of(unsigned int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "object-%u", i);
	return name;
}

static struct object object_of(unsigned int i)
{
	return (struct object){ .root = i + 7, .height = i % 5, .length_bytes = i * 4096ull + 1 };
}

/* Walks the bytes: exactly the names for which has[] is set, in the order they came, each with what
 * was said about it. */
static void expect(const struct name_list *list, const bool *has, unsigned int n)
{
	size_t at = 0, names = 0;

	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *entry = list->bytes + at;
		const char *name = name_of(i);
		struct object object = object_of(i);

		assert_int_equal(name_list_has(list, name), has[i]);
		if (!has[i])
			continue;
		assert_true(at + DIRECTORY_ENTRY_BYTES + strlen(name) <= list->len);
		assert_int_equal(get_le16(entry), strlen(name));
		assert_int_equal(get_le32(entry + 2), object.height);
		assert_int_equal(get_le64(entry + 6), object.root);
		assert_int_equal(get_le64(entry + 14), object.length_bytes);
		assert_memory_equal(entry + DIRECTORY_ENTRY_BYTES, name, strlen(name));
		at += DIRECTORY_ENTRY_BYTES + strlen(name);
		names++;
	}
	assert_int_equal(at, list->len);
	assert_int_equal(names, list->n_names);
	/* As many as a probe that ends needs. */
	assert_true(list->n_slots == 0 || list->n_names < list->n_slots);
}

static void add(struct name_list *list, unsigned int i)
{
	struct object object = object_of(i);

	assert_int_equal(name_list_add(list, name_of(i), &object), R_OK);
}

static void test_empty(void **state)
{
	struct name_list list = { 0 };

	(void)state;
	assert_false(name_list_has(&list, "anything"));
	name_list_remove(&list, "anything");
	assert_int_equal(list.len, 0);
	name_list_free(&list);
	name_list_free(&list);
}

static void test_grows(void **state)
{
	struct name_list list = { 0 };
	bool *has = calloc(NAMES + 1, sizeof(*has));

	(void)state;
	assert_non_null(has);
	for (unsigned int i = 0; i < NAMES; i++) {
		add(&list, i);
		has[i] = true;
		/* One that is there, its neighbour that is not. */
		assert_true(name_list_has(&list, name_of(i / 2)));
		assert_false(name_list_has(&list, name_of(i + 1)));
	}
	expect(&list, has, NAMES + 1);
	name_list_free(&list);
	assert_false(name_list_has(&list, name_of(0)));
	free(has);
}

/* Taking out moves all that come behind: first, last and in between, what is left stays found; and
 * a name may come again. */
static void test_remove(void **state)
{
	enum { n = 200 };
	struct name_list list = { 0 };
	bool has[n] = { false };

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		add(&list, i);
		has[i] = true;
	}
	for (unsigned int i = 0; i < n; i += 3) {
		name_list_remove(&list, name_of(i));
		has[i] = false;
		expect(&list, has, n);
	}
	name_list_remove(&list, name_of(n - 1));
	has[n - 1] = false;
	name_list_remove(&list, name_of(0)); /* gone already */
	name_list_remove(&list, "object-");
	name_list_remove(&list, "");
	expect(&list, has, n);
	for (unsigned int i = 0; i < n; i++)
		name_list_remove(&list, name_of(i));
	assert_int_equal(list.len, 0);
	assert_int_equal(list.n_names, 0);
	add(&list, 5);
	assert_true(name_list_has(&list, name_of(5)));
	assert_false(name_list_has(&list, name_of(6)));
	name_list_free(&list);
}

/* Names that are the beginning of others, and the longest there is. */
static void test_lengths(void **state)
{
	struct object object = object_of(1);
	struct name_list list = { 0 };
	char name[OBJECT_NAME_MAX + 1];

	(void)state;
	for (size_t len = 1; len <= OBJECT_NAME_MAX; len += len < 250 ? 1 : 5) {
		memset(name, 'n', len);
		name[len] = '\0';
		assert_false(name_list_has(&list, name));
		assert_int_equal(name_list_add(&list, name, &object), R_OK);
		assert_true(name_list_has(&list, name));
	}
	memset(name, 'n', 100);
	name[100] = '\0';
	name_list_remove(&list, name);
	assert_false(name_list_has(&list, name));
	name[99] = '\0';
	assert_true(name_list_has(&list, name));
	memset(name, 'n', 101);
	name[101] = '\0';
	assert_true(name_list_has(&list, name));
	name_list_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
