#include "content.h"

#include "base/result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BASE 0x555555554ull /* page index of the first part of the address space */
#define GAP 5000ull	    /* between its two parts */
#define CHANGED_PERCENT 7
/* Contents with seeds from this on change much and compress well, so that chains of differences
 * soon are larger than their pages. */
#define LIVELY_SEED 1000
#define LIVELY_PERCENT 70
#define PATCH_BYTES 48
#define FILES_BYTES 9000

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t x = a * 0x9e3779b97f4a7c15ull + b * 0xc2b2ae3d27d4eb4full + c + 1;

	x ^= x >> 31;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static void fill(uint8_t *to, size_t len, uint64_t state, size_t repeat)
{
	uint64_t word = 0;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		if (i / 8 % repeat == 0)
			word = mix(state, i, 7);
		memcpy(to + i, &word, 8);
	}
}

/* Page `i` of the address space: one in 11 zero, one in 5 incompressible, the others compressible;
 * then a patch for each step that has changed it. */
static void make_page(const struct content *content, uint64_t i, uint8_t *page)
{
	bool lively = content->seed >= LIVELY_SEED;
	uint64_t percent = lively ? LIVELY_PERCENT : CHANGED_PERCENT;

	if (i % 11 == 10) {
		memset(page, 0, PAGE_BYTES);
		return;
	}
	fill(page, PAGE_BYTES, mix(content->seed, i, 0), i % 5 == 0 && !lively ? 1 : 16);
	for (uint64_t step = 1; step <= content->step; step++) {
		uint64_t chance = mix(content->seed, i, step);

		if (chance % 100 < percent)
			fill(page + (chance >> 8) % (PAGE_BYTES - PATCH_BYTES), PATCH_BYTES, chance,
			     1);
	}
}

static uint64_t index_of(const struct content *content, uint64_t i)
{
	return BASE + i + (i < content->pages / 2 ? 0 : GAP);
}

static void make_files(const struct content *content, uint8_t data[FILES_BYTES])
{
	memset(data, 0, FILES_BYTES);
	fill(data, FILES_BYTES, mix(content->seed, content->step, 99), 4);
}

static int make_text(const struct content *content, char text[64])
{
	return snprintf(text, 64, "seed %lu step %lu", (unsigned long)content->seed,
			(unsigned long)content->step);
}

static int put_memory(struct ingest *ingest, const struct content *content)
{
	struct object_writer *writer;
	uint8_t page[PAGE_BYTES];
	int result;

	result = object_begin(ingest, "pages-100", &writer);
	if (result != R_OK)
		return result;
	for (uint64_t i = 0; result == R_OK && i < content->pages; i++) {
		make_page(content, i, page);
		result = object_pages(writer, index_of(content, i), page, 1);
	}
	if (object_end(writer, (index_of(content, content->pages - 1) + 1) * PAGE_BYTES) != R_OK)
		return R_FAILED;
	return result;
}

int content_take(struct store *store, const char *lineage, const struct content *content,
		 struct generation *gen)
{
	uint8_t files[FILES_BYTES];
	struct ingest *ingest;
	char text[64];
	int result, len = make_text(content, text);

	memset(gen, 0, sizeof(*gen));
	result = ingest_begin(store, lineage, &ingest);
	if (result != R_OK)
		return result;
	make_files(content, files);
	gen->time_ns = (int64_t)content->step + 1;
	gen->root_pid = 100;
	gen->tasks = 1;
	result = object_put(ingest, "inventory", text, (size_t)len);
	if (result == R_OK)
		result = object_put(ingest, "files", files, FILES_BYTES);
	if (result == R_OK)
		result = put_memory(ingest, content);
	if (result == R_OK)
		result = ingest_commit(ingest, gen);
	if (result != R_OK)
		ingest_abort(ingest);
	return result;
}

/* An object in the hash: its name and length, and its pages with their places. */
static void hash_name(XXH3_state_t *state, const char *name, uint64_t length_bytes)
{
	XXH3_128bits_update(state, name, strlen(name) + 1);
	XXH3_128bits_update(state, &length_bytes, sizeof(length_bytes));
}

static void hash_page(XXH3_state_t *state, uint64_t index, const uint8_t *page)
{
	XXH3_128bits_update(state, &index, sizeof(index));
	XXH3_128bits_update(state, page, PAGE_BYTES);
}

static void hash_bytes(XXH3_state_t *state, const char *name, const void *data, size_t len)
{
	const uint8_t *from = data;

	hash_name(state, name, len);
	for (size_t at = 0; at < len; at += PAGE_BYTES) {
		uint8_t page[PAGE_BYTES] = { 0 };

		memcpy(page, from + at, len - at < PAGE_BYTES ? len - at : PAGE_BYTES);
		hash_page(state, at / PAGE_BYTES, page);
	}
}

static XXH3_state_t *new_state(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (!state) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	XXH3_128bits_reset(state);
	return state;
}

static void end_state(XXH3_state_t *state, uint8_t hash[CONTENT_HASH_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
	memcpy(hash, canonical.digest, CONTENT_HASH_BYTES);
	XXH3_freeState(state);
}

void content_hash(const struct content *content, uint8_t hash[CONTENT_HASH_BYTES])
{
	XXH3_state_t *state = new_state();
	uint8_t files[FILES_BYTES], page[PAGE_BYTES];
	char text[64];
	int len = make_text(content, text);

	hash_bytes(state, "inventory", text, (size_t)len);
	make_files(content, files);
	hash_bytes(state, "files", files, FILES_BYTES);
	hash_name(state, "pages-100", (index_of(content, content->pages - 1) + 1) * PAGE_BYTES);
	for (uint64_t i = 0; i < content->pages; i++) {
		make_page(content, i, page);
		hash_page(state, index_of(content, i), page);
	}
	end_state(state, hash);
}

struct reading {
	struct store_view *view;
	XXH3_state_t *state;
};

static int read_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct reading *reading = arg;

	for (size_t i = 0; i < n; i++) {
		uint8_t page[PAGE_BYTES];
		page_no bad;
		int result = store_read_pages(reading->view, numbers + i, 1, page, &bad);

		if (result != R_OK)
			return result;
		hash_page(reading->state, index + i, page);
	}
	return R_OK;
}

static int read_object(const char *name, const struct object *object, void *arg)
{
	struct reading *reading = arg;

	hash_name(reading->state, name, object->length_bytes);
	return store_object_walk(reading->view, object, 0, UINT64_MAX, read_run, reading);
}

int content_hash_stored(struct store_view *view, uint64_t generation,
			uint8_t hash[CONTENT_HASH_BYTES])
{
	struct reading reading = { view, new_state() };
	int result;

	result = store_object_each(view, generation, read_object, &reading);
	end_state(reading.state, hash);
	return result;
}
