/* Sealed objects: nothing of what they hold is in the store, nothing finds or replaces their pages,
 * and they come back with their key only, whole or not at all. */
#include "scratch.h"

#include "base/result.h"
#include "store/commit.h"
#include "store/seal.h"
#include "store/segment_read.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 300
#define GAP 40 /* indexes from here on are higher by as many */
#define NAME "sealed-shmem-7"

static const struct key_source by_store;

static uint64_t index_of(size_t i)
{
	return i < GAP ? i : i + GAP;
}

/* `table` is that of the first sealing, pages those of the second, if they are to be mixed. */
static int seal_into(struct ingest *ingest, const struct store_keys *keys, const char *name,
		     uint64_t seed, bool mixed)
{
	struct sealer *sealer = sealer_begin(keys, name, (PAGES + GAP) * PAGE_BYTES);
	struct sealer *other = sealer_begin(keys, name, (PAGES + GAP) * PAGE_BYTES);
	uint8_t plain[PAGE_BYTES], cipher[PAGE_BYTES];
	struct object_writer *writer;
	const char *table_name;
	const void *table;
	uint64_t bytes;
	size_t pages;

	assert_int_equal(object_begin_sealed(ingest, name, &writer), R_OK);
	for (size_t i = 0; i < PAGES; i++) {
		scratch_page(seed, i, plain);
		assert_int_equal(sealer_page(sealer, index_of(i), plain, cipher), R_OK);
		if (mixed)
			assert_int_equal(sealer_page(other, index_of(i), plain, cipher), R_OK);
		assert_int_equal(object_pages(writer, index_of(i), cipher, 1), R_OK);
	}
	assert_int_equal(object_end(writer, (PAGES + GAP) * PAGE_BYTES), R_OK);
	table = sealer_table(sealer, &pages, &bytes, &table_name);
	assert_int_equal(object_begin_sealed(ingest, table_name, &writer), R_OK);
	assert_int_equal(object_pages(writer, 0, table, pages), R_OK);
	assert_int_equal(object_end(writer, bytes), R_OK);
	sealer_free(sealer);
	sealer_free(other);
	return R_OK;
}

static void take_sealed(struct store *store, const struct store_keys *keys, uint64_t seed,
			bool mixed, struct generation *gen)
{
	struct ingest *ingest;

	memset(gen, 0, sizeof(*gen));
	assert_int_equal(ingest_begin(store, "a", &ingest), R_OK);
	assert_int_equal(seal_into(ingest, keys, NAME, seed, mixed), R_OK);
	assert_int_equal(object_put(ingest, "image", "x", 1), R_OK);
	assert_int_equal(ingest_commit(ingest, gen), R_OK);
}

/* The keys, made if there are none. */
static struct store_keys *open_keys(struct store *store)
{
	struct store_keys *keys = NULL;

	assert_int_equal(store_keys_open(store, &by_store, true, &keys), R_OK);
	assert_non_null(keys);
	return keys;
}

/* R_OK if the contents are there and right. */
static int read_back(struct store *store, const struct store_keys *keys, uint64_t generation,
		     uint64_t seed)
{
	uint8_t expected[PAGE_BYTES], *page = sealed_buffer(PAGE_BYTES);
	struct sealed *sealed = NULL;
	struct store_view *view;
	int result;

	assert_int_equal(store_view_open(store, &view), R_OK);
	result = sealed_open(view, generation, NAME, keys, &sealed);
	if (result == R_OK)
		result = sealed_check(sealed);
	for (size_t i = 0; result == R_OK && i < PAGES; i++) {
		scratch_page(seed, i, expected);
		result = sealed_read(sealed, index_of(i), 1, page);
		if (result == R_OK)
			assert_memory_equal(page, expected, PAGE_BYTES);
	}
	if (result == R_OK) {
		uint64_t at = GAP;

		assert_int_equal(sealed_size(sealed), (PAGES + GAP) * PAGE_BYTES);
		assert_true(sealed_next(sealed, &at));
		assert_int_equal(at, 2 * GAP);
		memset(page, 1, PAGE_BYTES);
		assert_int_equal(sealed_read(sealed, GAP, 1, page), R_OK);
		assert_true(page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0);
	}
	sealed_close(sealed);
	store_view_close(view);
	sealed_buffer_free(page);
	return result;
}

/* ---- what is in the store ---- */

static bool contains(const uint8_t *hay, size_t len, uint64_t seed)
{
	uint8_t plain[PAGE_BYTES];

	for (size_t i = 0; i < PAGES; i++) {
		scratch_page(seed, i, plain);
		/* Any 32 bytes of it, at two places. */
		if (memmem(hay, len, plain, 32) || memmem(hay, len, plain + 2048, 32))
			return true;
	}
	return false;
}

struct search {
	struct store_view *view;
	uint64_t seed;
	bool found;
};

static int search_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	uint8_t page[PAGE_BYTES];
	struct search *search = arg;
	page_no bad;

	(void)index;
	for (size_t i = 0; i < n && i < 64; i++) {
		assert_int_equal(store_read_pages(search->view, numbers + i, 1, page, &bad), R_OK);
		search->found |= contains(page, sizeof(page), search->seed);
	}
	return 0;
}

static int search_object(const char *name, const struct object *object, void *arg)
{
	struct search *search = arg;

	(void)name;
	return store_object_walk(search->view, object, 0, UINT64_MAX, search_run, search);
}

static bool in_objects(struct store *store, uint64_t generation, uint64_t seed)
{
	struct search search = { .seed = seed };

	assert_int_equal(store_view_open(store, &search.view), R_OK);
	assert_int_equal(store_object_each(search.view, generation, search_object, &search), 0);
	store_view_close(search.view);
	return search.found;
}

static bool in_files(const char *dir, uint64_t seed)
{
	static const char *const rooms[] = { "", "index/", "packs/" };
	bool found = false;

	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		char path[600];
		struct dirent *entry;
		DIR *room;

		snprintf(path, sizeof(path), "%s/%s", dir, rooms[i]);
		room = opendir(path);
		assert_non_null(room);
		while ((entry = readdir(room))) {
			struct stat st;
			uint8_t *data;
			int fd;

			snprintf(path, sizeof(path), "%s/%s%s", dir, rooms[i], entry->d_name);
			if (stat(path, &st) || !S_ISREG(st.st_mode))
				continue;
			data = malloc((size_t)st.st_size + 1);
			fd = open(path, O_RDONLY);
			assert_true(data && fd >= 0);
			assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
			found |= contains(data, (size_t)st.st_size, seed);
			close(fd);
			free(data);
		}
		closedir(room);
	}
	return found;
}

static void nothing_in_the_clear(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct generation gen;

	take_sealed(store, keys, 5, false, &gen);
	assert_int_equal(gen.pages_new, PAGES + 1 + (PAGES * 24 + 112) / PAGE_BYTES + 1);
	assert_int_equal(read_back(store, keys, gen.number, 5), R_OK);
	assert_false(in_objects(store, gen.number, 5));
	assert_false(in_files(*state, 5));
	/* The search finds what is there. */
	assert_int_equal(scratch_take(store, "b", 5, PAGES, &gen), R_OK);
	assert_true(in_objects(store, gen.number, 5));
	store_keys_close(keys);
	store_close(store);
}

/* ---- by hash ---- */

static int find_none(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	uint8_t page[PAGE_BYTES], hash[HASH_BYTES];
	struct search *search = arg;
	const uint8_t *there;
	page_no bad, number;

	(void)index;
	for (size_t i = 0; i < n; i++) {
		page_no base;

		assert_int_equal(store_read_pages(search->view, numbers + i, 1, page, &bad), R_OK);
		assert_int_equal(view_page_hash(search->view, numbers[i], &there), R_OK);
		memcpy(hash, there, HASH_BYTES);
		assert_int_equal(view_find_page(search->view, hash, page, &number), R_NOT_FOUND);
		assert_int_equal(view_page_base(search->view, numbers[i], &base), R_OK);
		assert_int_equal(base, PAGE_ABSENT);
	}
	return 0;
}

static void not_found_by_hash(struct store *store, uint64_t generation)
{
	static const char *const names[] = { NAME, "seal-shmem-7" };
	struct search search = { 0 };
	struct object object;

	assert_int_equal(store_view_open(store, &search.view), R_OK);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(store_object(search.view, generation, names[i], &object), R_OK);
		assert_int_equal(
		    store_object_walk(search.view, &object, 0, UINT64_MAX, find_none, &search), 0);
	}
	store_view_close(search.view);
}

static void unknown_to_the_index(void **state)
{
	const struct gc_options options = { .recompress = true };
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct store_verify_result verified;
	struct generation gen;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		take_sealed(store, keys, seed, false, &gen);
		assert_int_equal(gen.pages_shared, seed == 1 ? 0 : 1);
		not_found_by_hash(store, gen.number);
	}
	/* Nor after gc has moved them about. */
	assert_int_equal(scratch_take(store, "b", 9, PAGES, &gen), R_OK);
	assert_int_equal(scratch_gc(store, 1, &options), R_OK);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	not_found_by_hash(store, 3);
	assert_int_equal(read_back(store, keys, 3, 3), R_OK);
	store_keys_close(keys);
	store_close(store);
}

/* An index that is made anew knows them neither. */
static void unknown_after_repair(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct generation gen;
	char path[300];
	bool rebuilt;
	int fd;

	take_sealed(store, keys, 4, false, &gen);
	store_keys_close(keys);
	store_close(store);
	snprintf(path, sizeof(path), "%s/index/data.mdb", (char *)*state);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(store_repair_index(*state, &rebuilt), R_OK);
	assert_true(rebuilt);
	store = scratch_open(*state);
	keys = open_keys(store);
	not_found_by_hash(store, gen.number);
	assert_int_equal(read_back(store, keys, gen.number, 4), R_OK);
	store_keys_close(keys);
	store_close(store);
}

/* ---- damage and other keys ---- */

static void mixed_up(void **state)
{
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct store_verify_result verified;
	struct generation gen;

	/* Whole for the store, but the pages are not those the table is of. */
	take_sealed(store, keys, 6, true, &gen);
	assert_int_equal(scratch_verify(store, &verified), R_OK);
	assert_int_equal(read_back(store, keys, gen.number, 6), R_DAMAGED);
	store_keys_close(keys);
	store_close(store);
}

static void other_keys(void **state)
{
	struct store *store = scratch_open(*state), *other;
	struct store_keys *keys = open_keys(store), *wrong;
	char *dir = scratch_make(), from[KEY_PATH_MAX + 400], to[400];
	struct key_source named = { .file = from };
	struct key_status status;
	struct generation gen;

	take_sealed(store, keys, 8, false, &gen);
	store_keys_close(keys);
	/* The keys of another store do not open it, whoever opens them. */
	other = scratch_open(dir);
	wrong = open_keys(other);
	assert_int_equal(read_back(store, wrong, gen.number, 8), R_UNSUPPORTED);
	store_keys_close(wrong);
	assert_int_equal(store_keys_status(other, &by_store, &status), R_OK);
	assert_int_equal(status.method, KEY_IN_STORE);
	assert_true(status.available);
	snprintf(from, sizeof(from), "%s/%s", dir, status.file);
	assert_int_equal(store_keys_open(store, &named, false, &wrong), R_UNSUPPORTED);
	/* One that others may read is not taken; nor one that is not there. */
	assert_int_equal(chmod(from, 0640), 0);
	assert_int_equal(store_keys_open(other, &by_store, false, &wrong), R_UNSUPPORTED);
	assert_int_equal(chmod(from, 0600), 0);
	snprintf(to, sizeof(to), "%s/elsewhere", dir);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(store_keys_open(other, &by_store, true, &wrong), R_UNSUPPORTED);
	assert_null(store_keys_at_hand(other, &by_store));
	named.file = to;
	assert_int_equal(store_keys_open(other, &named, false, &wrong), R_OK);
	store_keys_close(wrong);
	/* Any changed byte of `keys` is noticed. */
	snprintf(from, sizeof(from), "%s/keys", dir);
	{
		int fd = open(from, O_RDWR);
		char byte;

		assert_true(fd >= 0 && pread(fd, &byte, 1, 70) == 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, 70), 1);
		close(fd);
	}
	assert_int_equal(store_keys_open(other, &named, false, &wrong), R_DAMAGED);
	store_close(other);
	store_close(store);
	scratch_remove(dir);
}

/* ---- rotation ---- */

static int passphrase(char *text, size_t room, size_t *len, bool fresh, void *arg)
{
	(void)fresh;
	*len = strlen(arg);
	assert_true(*len <= room);
	memcpy(text, arg, *len);
	return R_OK;
}

static void every_way(void **state)
{
	struct key_source right = { .passphrase = passphrase, .arg = "open sesame" };
	struct key_source wrong = { .passphrase = passphrase, .arg = "open barley" };
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store), *none;
	struct key_status status;
	struct generation gen;
	char path[300];

	take_sealed(store, keys, 20, false, &gen);
	store_keys_close(keys);
	assert_int_equal(store_keys_rotate(store, &by_store, KEY_PASSPHRASE, &right), R_OK);
	assert_null(store_keys_at_hand(store, &by_store));
	assert_int_equal(store_keys_open(store, &by_store, false, &none), R_UNSUPPORTED);
	assert_int_equal(store_keys_open(store, &wrong, false, &none), R_UNSUPPORTED);
	assert_int_equal(store_keys_open(store, &right, false, &keys), R_OK);
	assert_int_equal(read_back(store, keys, 1, 20), R_OK);
	take_sealed(store, keys, 21, false, &gen);
	store_keys_close(keys);
	snprintf(path, sizeof(path), "%s.key", (char *)*state);
	{
		struct key_source file = { .file = path };

		assert_int_equal(store_keys_rotate(store, &right, KEY_IN_FILE, &file), R_OK);
		assert_int_equal(store_keys_rotate(store, &by_store, KEY_IN_FILE, &file), R_OK);
	}
	keys = open_keys(store);
	for (uint64_t number = 1; number <= 2; number++)
		assert_int_equal(read_back(store, keys, number, 19 + number), R_OK);
	store_keys_close(keys);
	assert_int_equal(store_keys_status(store, &by_store, &status), R_OK);
	assert_int_equal(status.method, KEY_IN_FILE);
	assert_int_equal(status.data_keys, 4);
	assert_int_equal(store_keys_init(store, KEY_IN_STORE, &by_store), R_BUSY);
	store_close(store);
	unlink(path);
}

/* A key file may be that of several stores: a new key of one leaves the others theirs. */
static void shared_file(void **state)
{
	struct store *store = scratch_open(*state), *other;
	char *dir = scratch_make(), path[300], moved[310];
	struct key_source file = { .file = path }, away = { .file = moved };
	struct store_keys *keys;
	struct key_status status[2];
	struct generation gen;

	snprintf(path, sizeof(path), "%s.key", (char *)*state);
	other = scratch_open(dir);
	assert_int_equal(store_keys_init(store, KEY_IN_FILE, &file), R_OK);
	assert_int_equal(store_keys_init(other, KEY_IN_FILE, &file), R_OK);
	keys = open_keys(other);
	take_sealed(other, keys, 40, false, &gen);
	store_keys_close(keys);
	for (int times = 0; times < 2; times++)
		assert_int_equal(store_keys_rotate(store, &by_store, KEY_IN_FILE, &file), R_OK);
	assert_int_equal(store_keys_status(store, &by_store, &status[0]), R_OK);
	assert_int_equal(store_keys_status(other, &by_store, &status[1]), R_OK);
	assert_true(status[0].available && status[1].available);
	assert_memory_not_equal(status[0].id, status[1].id, KEY_ID_BYTES);
	keys = open_keys(other);
	assert_int_equal(read_back(other, keys, gen.number, 40), R_OK);
	store_keys_close(keys);
	/* Moved away, the old key opens from there, and the new one goes where that was. */
	snprintf(moved, sizeof(moved), "%s.moved", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(store_keys_rotate(store, &away, KEY_IN_FILE, &file), R_OK);
	keys = open_keys(store);
	store_keys_close(keys);
	unlink(moved);
	store_close(other);
	store_close(store);
	scratch_remove(dir);
	unlink(path);
}

/* A key file that the user keeps in the store's folder is not taken for a leftover. */
static void file_in_folder(void **state)
{
	struct store *store = scratch_open(*state);
	struct key_source file = { .file = NULL };
	struct key_status status;
	char path[300], own[KEY_PATH_MAX + 300];

	snprintf(path, sizeof(path), "%s/key-mine", (char *)*state);
	file.file = path;
	assert_int_equal(store_keys_init(store, KEY_IN_FILE, &file), R_OK);
	assert_int_equal(store_keys_status(store, &by_store, &status), R_OK);
	assert_true(status.available);
	/* One of the store's own, named as the user's. */
	assert_int_equal(store_keys_rotate(store, &by_store, KEY_IN_STORE, &by_store), R_OK);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(store_keys_status(store, &by_store, &status), R_OK);
	snprintf(own, sizeof(own), "%s/%s", (char *)*state, status.file);
	file.file = own;
	assert_int_equal(store_keys_rotate(store, &by_store, KEY_IN_FILE, &file), R_OK);
	assert_int_equal(store_keys_status(store, &by_store, &status), R_OK);
	assert_true(status.available);
	/* Nobody needs it any more. */
	assert_int_equal(store_keys_rotate(store, &by_store, KEY_IN_STORE, &by_store), R_OK);
	assert_int_equal(access(own, F_OK), -1);
	store_close(store);
}

static int rotate_child(const char *dir, void *arg)
{
	struct key_source file = { .file = arg };
	struct store *store;

	if (store_open(dir, false, true, &store) != R_OK)
		return 1;
	return store_keys_rotate(store, &by_store, arg ? KEY_IN_FILE : KEY_IN_STORE, &file) == R_OK
		   ? 0
		   : 1;
}

/* Killed at each step of it, what was sealed before can be read. */
static void killed(void **state)
{
	char path[300];
	char *ways[] = { NULL, path, path };
	struct store *store = scratch_open(*state);
	struct store_keys *keys = open_keys(store);
	struct generation gen;

	snprintf(path, sizeof(path), "%s.key", (char *)*state);
	take_sealed(store, keys, 30, false, &gen);
	store_keys_close(keys);
	store_close(store);
	for (size_t way = 0; way < 3; way++) {
		int code = -1, kills = 0;

		for (long fault = 1; code != 0; fault++) {
			code = scratch_child(rotate_child, *state, ways[way], fault);
			assert_true(code == 0 || code == -1);
			kills += code == -1;
			store = scratch_open(*state);
			keys = open_keys(store);
			assert_int_equal(read_back(store, keys, gen.number, 30), R_OK);
			store_keys_close(keys);
			store_close(store);
		}
		assert_true(kills >= 5);
	}
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_in_the_clear, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(unknown_to_the_index, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(unknown_after_repair, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(mixed_up, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(other_keys, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(shared_file, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(file_in_folder, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(every_way, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(killed, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
