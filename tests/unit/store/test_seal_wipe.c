/* What was in the clear for a moment is nowhere else: not in swap, in core dumps, in registers. */
#include "scratch.h"

#include "base/result.h"
#include "store/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was decrypted is in memory that is not swapped out and not part of a core dump. */
static void locked_memory(void **state)
{
	char line[256];
	uint8_t *buffer = sealed_buffer(PAGE_BYTES);
	bool here = false, seen = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	(void)state;
	assert_true(f && buffer);
	memset(buffer, 7, PAGE_BYTES);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)buffer && (uintptr_t)buffer < to;
		if (!here || strncmp(line, "VmFlags:", 8) != 0)
			continue;
			/* The address sanitizer makes mlock() do nothing. */
#ifndef __SANITIZE_ADDRESS__
		assert_non_null(strstr(line, " lo "));
#endif
		assert_non_null(strstr(line, " dd "));
		seen = true;
	}
	assert_true(seen);
	fclose(f);
	sealed_buffer_free(buffer);
}

#if defined(__x86_64__)
#define NAME "sealed-shmem-7"

static const struct key_source by_store;

static struct store_keys *open_keys(struct store *store)
{
	struct store_keys *keys = NULL;

	assert_int_equal(store_keys_open(store, &by_store, true, &keys), R_OK);
	assert_non_null(keys);
	return keys;
}

struct registers {
	uint8_t wide[16][32];
};

__attribute__((target("avx"))) static void save_wide(struct registers *r)
{
#define SAVE(n) __asm__ volatile("vmovups %%ymm" #n ", %0" : "=m"(r->wide[n]))
	SAVE(0);
	SAVE(1);
	SAVE(2);
	SAVE(3);
	SAVE(4);
	SAVE(5);
	SAVE(6);
	SAVE(7);
	SAVE(8);
	SAVE(9);
	SAVE(10);
	SAVE(11);
	SAVE(12);
	SAVE(13);
	SAVE(14);
	SAVE(15);
#undef SAVE
}

/* Plaintext of one letter: eight of it in a row come from nowhere else. */
static bool has_letter(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0, run = 0; i < len; i++) {
		run = at[i] == 'S' ? run + 1 : 0;
		if (run == 8)
			return true;
	}
	return false;
}

/* Neither sealing nor reading leaves plaintext behind. */
static void nothing_in_registers(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct sealer *sealer = sealer_begin(keys, NAME, PAGE_BYTES);
	uint8_t *page = sealed_buffer(PAGE_BYTES), cipher[PAGE_BYTES];
	const void *table;
	const char *table_name;
	struct generation gen = { 0 };
	struct object_writer *writer;
	struct store_view *view;
	struct sealed *sealed;
	struct ingest *ingest;
	struct registers r;
	uint64_t bytes;
	size_t pages;

	if (!__builtin_cpu_supports("avx"))
		skip();
	assert_non_null(page);
	memset(page, 'S', PAGE_BYTES);
	assert_int_equal(sealer_page(sealer, 0, page, cipher), R_OK);
	save_wide(&r);
	assert_false(has_letter(&r, sizeof(r)));
	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(object_begin_sealed(ingest, NAME, &writer), R_OK);
	assert_int_equal(object_pages(writer, 0, cipher, 1), R_OK);
	assert_int_equal(object_end(writer, PAGE_BYTES), R_OK);
	table = sealer_table(sealer, &pages, &bytes, &table_name);
	assert_int_equal(object_begin_sealed(ingest, table_name, &writer), R_OK);
	assert_int_equal(object_pages(writer, 0, table, pages), R_OK);
	assert_int_equal(object_end(writer, bytes), R_OK);
	assert_int_equal(ingest_commit(ingest, &gen), R_OK);
	memset(page, 0, PAGE_BYTES);
	assert_int_equal(store_view_open(store, &view), R_OK);
	assert_int_equal(sealed_open(view, gen.number, NAME, keys, &sealed), R_OK);
	assert_int_equal(sealed_read(sealed, 0, 1, page), R_OK);
	save_wide(&r);
	assert_false(has_letter(&r, sizeof(r)));
	assert_true(page[0] == 'S' && page[PAGE_BYTES - 1] == 'S');
	sealed_close(sealed);
	sealer_free(sealer);
	sealed_buffer_free(page);
	store_view_close(view);
	store_keys_close(keys);
	store_close(store);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test_setup_teardown(nothing_in_registers, scratch_setup,
						scratch_teardown),
#endif
		cmocka_unit_test(locked_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
