/* Segments: what the encoder makes is what the header says and reads back, and nothing else is. */
#include "store/cluster.h"
#include "store/segment_encode.h"

#include "base/endian.h"
#include "base/result.h"
#include "scratch.h"
#include "store/delta.h"
#include "store/page.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OFFSET 77

/* Pages of a segment to be, with room for their bytes. */
struct made {
	struct segment_page pages[SEGMENT_PAGES];
	uint8_t bytes[SEGMENT_PAGES][PAGE_BYTES], bases[SEGMENT_PAGES][PAGE_BYTES];
	uint8_t hashes[SEGMENT_PAGES][HASH_BYTES];
	uint8_t secret[SECRET_BYTES];
	int fd;
	struct segment_record record;
};

static int setup(void **state)
{
	struct made *made = calloc(1, sizeof(*made));
	char path[] = "/tmp/snap-segment.XXXXXX";

	assert_non_null(made);
	for (size_t i = 0; i < SECRET_BYTES; i++)
		made->secret[i] = (uint8_t)(i * 7 + 1);
	made->fd = mkstemp(path);
	assert_true(made->fd >= 0);
	unlink(path);
	*state = made;
	return 0;
}

static int teardown(void **state)
{
	struct made *made = *state;

	close(made->fd);
	free(made);
	return 0;
}

/* Page `i` differs from its base in `words` words, eight in a row, if it has one. */
static void make(struct made *made, uint32_t i, page_no number, page_no base, uint32_t words)
{
	scratch_page(1, number, made->bytes[i]);
	if (base != PAGE_ABSENT) {
		memcpy(made->bases[i], made->bytes[i], PAGE_BYTES);
		for (uint32_t w = 0; w < words; w++)
			made->bases[i][((w / 8 * 88 + w % 8 + i) % 512) * 8 + w % 8] ^= 0x55;
	}
	page_hash(made->secret, made->bytes[i], made->hashes[i]);
	made->pages[i] = (struct segment_page){
		.number = number,
		.base = base,
		.hash = made->hashes[i],
		.bytes = made->bytes[i],
		.base_bytes = made->bases[i],
	};
}

static void write_out(struct made *made, const struct segment_coding *coding, uint32_t n)
{
	struct segment_encoder *encoder = segment_encoder_new(made->secret, coding);
	const uint8_t *bytes;
	size_t len;

	assert_non_null(encoder);
	bytes = segment_encode(encoder, made->pages, n, &made->record);
	len = (size_t)made->record.header_bytes + made->record.body_bytes;
	assert_int_equal(pwrite(made->fd, bytes, len, OFFSET), (ssize_t)len);
	made->record.offset = OFFSET;
	segment_encoder_free(encoder);
}

/* Loads what was written and compares each page and each fact with what went in. */
static void check(struct made *made, uint32_t n)
{
	struct unpacker *unpacker = unpacker_new();
	struct segment segment;

	assert_non_null(unpacker);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	for (uint32_t i = 0; i < n; i++) {
		const struct segment_place *place = &segment.pages[i];
		struct cluster_place where;
		struct cluster *cluster;
		uint8_t page[PAGE_BYTES];

		assert_int_equal(segment_find(&segment, made->pages[i].number), i);
		assert_int_equal(segment_number(&segment, i), made->pages[i].number);
		assert_memory_equal(segment_hash(&segment, i), made->hashes[i], HASH_BYTES);
		where = cluster_place_of(&segment, place->cluster, made->fd);
		assert_int_equal(cluster_read(unpacker, &where, NULL, &cluster), R_OK);
		assert_true(cluster->whole);
		assert_int_equal(cluster->delta, place->base != PAGE_ABSENT);
		if (cluster->delta) {
			assert_int_equal(place->base, made->pages[i].base);
			memcpy(page, made->bases[i], PAGE_BYTES);
			cluster_apply(cluster, place->at, page);
		} else {
			memcpy(page, cluster_page(cluster, place->at), PAGE_BYTES);
		}
		assert_memory_equal(page, made->bytes[i], PAGE_BYTES);
		cluster_free(cluster);
	}
	assert_int_equal(segment_find(&segment, made->record.last + 1), -1);
	assert_int_equal(segment_find(&segment, made->record.first - 1), -1);
	segment_free(&segment);
	unpacker_free(unpacker);
}

/* The last cluster, which is that of differences if there are any. */
static void check_codec(struct made *made, enum codec codec)
{
	struct segment segment;

	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	assert_int_equal(segment.cluster[segment.clusters - 1].codec, codec);
	segment_free(&segment);
}

static void dense_and_full(void **state)
{
	struct made *made = *state;

	for (uint32_t n = 1; n <= SEGMENT_PAGES; n += n < 30 ? 1 : 75) {
		for (uint32_t i = 0; i < n; i++)
			make(made, i, 1000 + i, PAGE_ABSENT, 0);
		write_out(made, &segment_coding_take, n);
		assert_int_equal(made->record.flags, SEGMENT_SUMS);
		assert_int_equal(made->record.pages, n);
		/* The hash, a little for its cluster, and nothing for the number. */
		assert_true(made->record.header_bytes <= 40 + n * HASH_BYTES + (n + 7) / 8 * 13);
		check(made, n);
	}
}

static void sparse(void **state)
{
	const struct segment_coding coding = { .level = 3, .delta_level = 3, .cluster_pages = 256 };
	struct made *made = *state;
	page_no number = 5;

	for (uint32_t i = 0; i < 256; i++) {
		make(made, i, number, PAGE_ABSENT, 0);
		number += 1 + (i % 5) * (i % 3) * 1000 + ((uint64_t)(i == 200) << 60);
	}
	write_out(made, &coding, 256);
	assert_int_equal(made->record.flags, SEGMENT_SPARSE);
	check(made, 256);
}

/* Full pages and differences in one segment; too great a difference is none. */
static void mixed(void **state)
{
	struct made *made = *state;
	struct segment_coding coding;
	struct segment segment;
	uint64_t deltas = 0;

	for (uint32_t i = 0; i < 250; i++) {
		page_no base = i % 3 == 0 ? PAGE_ABSENT : 50000 - i * (i % 2 ? 13 : 101);

		make(made, i, 100000 + i * 2, base, i % 9 == 1 ? 300 : i % 60);
	}
	coding = segment_coding_of(2, false);
	write_out(made, &coding, 250);
	check_codec(made, CODEC_DELTA_ZSTD);
	check(made, 250);
	coding = segment_coding_of(5, false);
	write_out(made, &coding, 250);
	check_codec(made, CODEC_DELTA_LZ4);
	check(made, 250);
	write_out(made, &segment_coding_take, 250);
	check_codec(made, CODEC_DELTA_RUNS);
	made->pages[249].tight = true;
	write_out(made, &segment_coding_take, 250);
	check_codec(made, CODEC_DELTA_ZSTD);
	made->pages[249].tight = false;
	write_out(made, &segment_coding_take, 250);
	check_codec(made, CODEC_DELTA_RUNS);
	assert_int_equal(made->record.flags, SEGMENT_SPARSE | SEGMENT_DELTAS | SEGMENT_SUMS);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	for (uint32_t i = 0; i < 250; i++) {
		bool small = i % 3 != 0 && i % 9 != 1;

		assert_int_equal(segment_base(&segment, i) != PAGE_ABSENT, small);
		if (!small)
			made->pages[i].base = PAGE_ABSENT;
		deltas += small;
	}
	assert_true(deltas > 100);
	segment_free(&segment);
	check(made, 250);
}

/* Random bytes are stored as they are, in full and as differences. */
static void incompressible(void **state)
{
	struct made *made = *state;
	uint64_t x = 88172645463325252ull;
	struct segment segment;

	for (uint32_t i = 0; i < 40; i++) {
		make(made, i, 300 + i, i < 20 ? PAGE_ABSENT : 100 + i, 0);
		for (size_t w = 0; w < 512; w++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			if (i < 20 || w < 200)
				memcpy(made->bytes[i] + w * 8, &x, 8);
		}
		page_hash(made->secret, made->bytes[i], made->hashes[i]);
	}
	write_out(made, &segment_coding_take, 40);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	assert_int_equal(segment.cluster[0].codec, CODEC_RAW);
	assert_int_equal(segment.cluster[0].bytes, segment_coding_take.cluster_pages * PAGE_BYTES);
	assert_true(made->record.body_bytes < 20 * PAGE_BYTES + 20 * (64 + 200 * 8) + 100);
	segment_free(&segment);
	check(made, 40);

	/* What is known to be raw is not tried: these would compress well. */
	for (uint32_t i = 0; i < 40; i++) {
		make(made, i, 300 + i, PAGE_ABSENT, 0);
		made->pages[i].raw = i >= 8 && i < 30;
	}
	write_out(made, &segment_coding_strong, 40);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	assert_int_equal(segment.clusters, 3);
	assert_int_equal(segment.cluster[0].codec, CODEC_ZSTD);
	assert_int_equal(segment.cluster[1].codec, CODEC_RAW);
	assert_int_equal(segment.cluster[1].pages, 22);
	assert_int_equal(segment.cluster[2].codec, CODEC_ZSTD);
	segment_free(&segment);
	check(made, 40);
}

/* Doubles: as planes they get smaller, and come back. */
static void numbers(void **state)
{
	struct made *made = *state;
	uint64_t x = 88172645463325252ull;
	struct segment segment;

	for (uint32_t i = 0; i < 40; i++) {
		make(made, i, 300 + i, PAGE_ABSENT, 0);
		for (size_t w = 0; w < 512; w++) {
			double number;

			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			number = (double)(x >> 11) / 9007199254740992.0;
			memcpy(made->bytes[i] + w * 8, &number, 8);
		}
		page_hash(made->secret, made->bytes[i], made->hashes[i]);
	}
	write_out(made, &segment_coding_take, 40);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	for (uint32_t i = 0; i < segment.clusters; i++)
		assert_int_equal(segment.cluster[i].codec, CODEC_PLANES);
	assert_true(made->record.body_bytes < 40 * PAGE_BYTES / 100 * 87);
	segment_free(&segment);
	check(made, 40);
	write_out(made, &segment_coding_strong, 40);
	assert_true(made->record.body_bytes < 40 * PAGE_BYTES / 100 * 87);
	check(made, 40);
}

/* Differences that say another length than they have, or end in their midst, are no cluster. */
static void bad_lengths(struct made *made, const struct segment_coding *coding, enum codec codec)
{
	static const uint32_t lengths[] = { 0,
					    8,
					    63,
					    64,
					    3000,
					    40 * 20 * 8 - 8,
					    40 * 20 * 8 + 8,
					    40 * (64 + PAGE_BYTES),
					    UINT32_MAX };
	struct unpacker *unpacker = unpacker_new();
	struct segment segment;
	struct cluster_place where;
	struct cluster *cluster;
	uint8_t raw[4];

	assert_non_null(unpacker);
	for (uint32_t i = 0; i < 40; i++)
		make(made, i, 300 + i, 100 + i, 20);
	write_out(made, coding, 40);
	check_codec(made, codec);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	where = cluster_place_of(&segment, 0, made->fd);
	for (uint32_t cut = 1; cut < where.cluster.bytes; cut++) {
		where.cluster.bytes -= cut;
		assert_int_equal(cluster_read(unpacker, &where, NULL, &cluster), R_OK);
		assert_false(cluster->whole);
		cluster_free(cluster);
		where.cluster.bytes += cut;
	}
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		put_le32(raw, lengths[i]);
		assert_int_equal(pwrite(made->fd, raw, 4, (off_t)where.offset), 4);
		assert_int_equal(cluster_read(unpacker, &where, NULL, &cluster), R_OK);
		assert_false(cluster->whole);
		cluster_free(cluster);
	}
	segment_free(&segment);
	unpacker_free(unpacker);
}

static void bad_lz4(void **state)
{
	const struct segment_coding before = segment_coding_of(FORMAT_RUNS - 1, false);

	bad_lengths(*state, &before, CODEC_DELTA_LZ4);
	bad_lengths(*state, &segment_coding_take, CODEC_DELTA_RUNS);
}

/* A page that is as its base: there are no words, which runs cannot say. */
static void no_difference(void **state)
{
	struct made *made = *state;

	for (uint32_t i = 0; i < 40; i++)
		make(made, i, 300 + i, 100 + i, i == 20 ? 0 : 20);
	write_out(made, &segment_coding_take, 40);
	check_codec(made, CODEC_DELTA_LZ4);
	check(made, 40);
}

/* Every other word: as runs, they would take more than as bits. */
static void here_and_there(void **state)
{
	struct made *made = *state;

	for (uint32_t i = 0; i < 40; i++) {
		make(made, i, 300 + i, 100 + i, 0);
		for (uint32_t w = i % 2; w < 2 * 30; w += 2)
			made->bases[i][w * 8] ^= 0x55;
	}
	write_out(made, &segment_coding_take, 40);
	check_codec(made, CODEC_DELTA_LZ4);
	check(made, 40);
}

/* Whatever the heads and runs say, nothing is touched but the page. */
static void forged_runs(void **state)
{
	static const uint8_t forged[] = { 0, 1, 127, 128, 254, 255 };
	struct unpacker *unpacker = unpacker_new();
	struct made *made = *state;
	struct cluster_place where;
	struct cluster *cluster;
	struct segment segment;
	size_t shapes, used = 0, refused = 0;
	uint8_t *page = malloc(PAGE_BYTES); /* so that who looks for it sees what lies beyond */

	assert_non_null(unpacker);
	assert_non_null(page);
	for (uint32_t i = 0; i < 40; i++)
		make(made, i, 300 + i, 100 + i, 1 + i * 4);
	write_out(made, &segment_coding_take, 40);
	check_codec(made, CODEC_DELTA_RUNS);
	assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment), R_OK);
	where = cluster_place_of(&segment, 0, made->fd);
	assert_int_equal(cluster_read(unpacker, &where, NULL, &cluster), R_OK);
	assert_true(cluster->whole);
	shapes = cluster->len - spot_words(cluster->spots[40]);
	cluster_free(cluster);
	for (size_t at = 0; at < shapes * sizeof(forged); at++) {
		off_t place = (off_t)(where.offset + LZ4_LENGTH_BYTES + at / sizeof(forged));
		uint8_t byte, bitmap[DELTA_BITMAP_BYTES];

		assert_int_equal(pread(made->fd, &byte, 1, place), 1);
		assert_int_equal(pwrite(made->fd, &forged[at % sizeof(forged)], 1, place), 1);
		assert_int_equal(cluster_read(unpacker, &where, NULL, &cluster), R_OK);
		refused += !cluster->whole;
		for (uint32_t i = 0; cluster->whole && i < 40; i++, used++) {
			cluster_apply(cluster, i, page);
			cluster_differs(cluster, i, bitmap);
		}
		cluster_free(cluster);
		assert_int_equal(pwrite(made->fd, &byte, 1, place), 1);
	}
	assert_true(used > 0 && refused > 0);
	check(made, 40);
	segment_free(&segment);
	unpacker_free(unpacker);
	free(page);
}

/* A base must have a lower number, or a ring of bases could be made. */
static void base_above(void **state)
{
	struct made *made = *state;

	make(made, 0, 500, 501, 3);
	make(made, 1, 501, 500, 3);
	write_out(made, &segment_coding_take, 2);
	made->pages[0].base = PAGE_ABSENT;
	check(made, 2);
}

/* Nor one that a place in memory has no room for. */
static void base_too_high(void **state)
{
	struct made *made = *state;

	make(made, 0, PAGE_NO_MAX + 1, PAGE_NO_MAX, 3);
	make(made, 1, PAGE_NO_MAX + 2, PAGE_NO_MAX + 1, 3);
	write_out(made, &segment_coding_take, 2);
	made->pages[1].base = PAGE_ABSENT;
	check(made, 2);
}

/* Whatever byte of the header is changed, it is refused, the checksum beside. */
static void damaged_header(void **state)
{
	struct made *made = *state;
	struct segment segment;

	for (uint32_t i = 0; i < 60; i++)
		make(made, i, 3000 + i * 3, i % 2 ? 1000 + i : PAGE_ABSENT, i);
	write_out(made, &segment_coding_take, 60);
	for (off_t at = 0; at < made->record.header_bytes; at++) {
		uint8_t byte, other;

		assert_int_equal(pread(made->fd, &byte, 1, OFFSET + at), 1);
		other = byte ^ (uint8_t)(1 << at % 8);
		assert_int_equal(pwrite(made->fd, &other, 1, OFFSET + at), 1);
		assert_int_equal(segment_load(made->secret, made->fd, &made->record, &segment),
				 R_DAMAGED);
		assert_int_equal(pwrite(made->fd, &byte, 1, OFFSET + at), 1);
	}
	check(made, 60);
}

/* A header with any bytes and a right checksum is read or refused, and nothing worse. */
static void forged_header(void **state)
{
	struct made *made = *state;
	uint8_t *header;
	size_t loaded = 0;
	uint32_t x = 1;

	for (uint32_t i = 0; i < 60; i++)
		make(made, i, 3000 + i * 3, i % 2 ? 1000 + i : PAGE_ABSENT, i);
	write_out(made, &segment_coding_take, 60);
	header = malloc(made->record.header_bytes);
	assert_non_null(header);
	assert_int_equal(pread(made->fd, header, made->record.header_bytes, OFFSET),
			 made->record.header_bytes);
	for (int round = 0; round < 3000; round++) {
		struct segment_record record = made->record;
		size_t body = record.header_bytes - 8;
		uint8_t *forged = malloc(record.header_bytes);
		struct segment segment;

		assert_non_null(forged);
		memcpy(forged, header, record.header_bytes);
		for (int k = 0; k < 1 + round % 3; k++) {
			x = x * 1103515245 + 12345;
			/* Beyond the hashes, where the table is. */
			forged[body - 1 - (x >> 8) % (body - 32 - 60 * HASH_BYTES)] =
			    (uint8_t)(x >> 24);
		}
		record.checksum = segment_checksum(made->secret, forged, body);
		memcpy(forged + body, &record.checksum, 8);
		assert_int_equal(pwrite(made->fd, forged, record.header_bytes, OFFSET),
				 record.header_bytes);
		if (segment_load(made->secret, made->fd, &record, &segment) == R_OK) {
			for (uint32_t i = 0; i < 60; i++)
				assert_true(segment_base(&segment, i) <
					    segment_number(&segment, i));
			segment_free(&segment);
			loaded++;
		}
		free(forged);
	}
	assert_true(loaded < 3000);
	free(header);
}

static struct cluster *cluster_of(page_no first)
{
	struct cluster *cluster = calloc(1, sizeof(*cluster));

	assert_non_null(cluster);
	cluster->first = first;
	cluster->size_bytes = 1000;
	return cluster;
}

/* What was used in this round or the last one stays, within the budget; all else goes. */
static void rounds_of_a_cache(void **state)
{
	struct cluster_cache *cache = cluster_cache_new(100000);

	(void)state;
	assert_non_null(cache);
	cluster_cache_round(cache, 1);
	for (page_no first = 1; first <= 40; first++)
		cluster_cache_put(cache, cluster_of(first));
	cluster_cache_round(cache, 1);
	for (page_no first = 1; first <= 40; first += 2)
		assert_non_null(cluster_cache_find(cache, first, 0));
	cluster_cache_round(cache, 1);
	for (page_no first = 1; first <= 40; first++)
		assert_int_equal(cluster_cache_find(cache, first, 0) != NULL, first % 2);
	for (page_no first = 101; first <= 200; first++)
		cluster_cache_put(cache, cluster_of(first));
	for (page_no first = 1; first <= 200; first++)
		assert_int_equal(cluster_cache_find(cache, first, 0) != NULL, first > 100);
	cluster_cache_round(cache, 1);
	cluster_cache_round(cache, 1);
	cluster_cache_round(cache, 1);
	for (page_no first = 101; first <= 200; first++)
		assert_null(cluster_cache_find(cache, first, 0));
	cluster_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounds_of_a_cache),
		cmocka_unit_test_setup_teardown(dense_and_full, setup, teardown),
		cmocka_unit_test_setup_teardown(sparse, setup, teardown),
		cmocka_unit_test_setup_teardown(mixed, setup, teardown),
		cmocka_unit_test_setup_teardown(incompressible, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_lz4, setup, teardown),
		cmocka_unit_test_setup_teardown(no_difference, setup, teardown),
		cmocka_unit_test_setup_teardown(here_and_there, setup, teardown),
		cmocka_unit_test_setup_teardown(forged_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(base_above, setup, teardown),
		cmocka_unit_test_setup_teardown(base_too_high, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_header, setup, teardown),
		cmocka_unit_test_setup_teardown(forged_header, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
