#include "store/cluster.h"

#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/room.h"
#include "base/warn.h"
#include "store/delta.h"
#include "store/page.h"
#include "store/planes.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define BUCKETS 1024u
#define LINE_BYTES 64u
/* What lies behind these the processor fetches by itself, as it sees the order. */
#define FETCH_LINES 16u

_Static_assert((PAGE_BYTES + DELTA_BITMAP_BYTES) * SEGMENT_PAGES < 1u << SPOT_PLACE_BITS,
	       "spots have places in a cluster");

struct unpacker {
	ZSTD_DCtx *zstd;
	uint8_t *stored; /* SEGMENT_BYTES */
	uint8_t *planes; /* the same, once there were any */
	uint8_t *spare;	 /* of a cluster that went, or NULL, */
	size_t spare_len;
	const uint8_t *secret; /* to check sums with, or NULL */
};

struct cluster_cache {
	size_t budget_bytes, used_bytes;
	uint64_t round;
	struct cluster *newest, *oldest;
	struct cluster *buckets[BUCKETS];
};

struct unpacker *unpacker_new(void)
{
	struct unpacker *unpacker = calloc(1, sizeof(*unpacker));

	if (!unpacker)
		return NULL;
	unpacker->zstd = ZSTD_createDCtx();
	unpacker->stored = malloc(SEGMENT_BYTES);
	if (unpacker->zstd && unpacker->stored)
		return unpacker;
	unpacker_free(unpacker);
	return NULL;
}

void unpacker_free(struct unpacker *unpacker)
{
	if (!unpacker)
		return;
	ZSTD_freeDCtx(unpacker->zstd);
	room_put(unpacker->spare, unpacker->spare_len);
	free(unpacker->stored);
	free(unpacker->planes);
	free(unpacker);
}

void unpacker_check_sums(struct unpacker *unpacker, const uint8_t *secret)
{
	unpacker->secret = secret;
}

void cluster_free(struct cluster *cluster)
{
	if (!cluster)
		return;
	if (!cluster->lent)
		room_put(cluster->bytes, cluster->len);
	free(cluster);
}

void cluster_reuse(struct unpacker *unpacker, struct cluster *cluster)
{
	if (!cluster->delta && !cluster->lent && !unpacker->spare) {
		unpacker->spare = cluster->bytes;
		unpacker->spare_len = cluster->len;
		cluster->bytes = NULL;
	}
	cluster_free(cluster);
}

static uint8_t *room_for(struct unpacker *unpacker, size_t len)
{
	uint8_t *room = unpacker->spare;

	if (!room || len != unpacker->spare_len)
		return room_get(len);
	unpacker->spare = NULL;
	return room;
}

static const struct delta_head *heads_of(const uint8_t *bytes)
{
	return (const struct delta_head *)bytes;
}

/* Bytes of the heads of differences and of their runs; 0: they are not whole. */
static size_t shape_bytes(const struct segment_cluster *from, const uint8_t *stored)
{
	const struct delta_head *head = heads_of(stored + LZ4_LENGTH_BYTES);
	size_t bytes = (size_t)from->pages * DELTA_HEAD_BYTES;

	if (from->bytes < LZ4_LENGTH_BYTES + bytes)
		return 0;
	for (uint32_t i = 0; i < from->pages; i++)
		bytes += DELTA_RUN_BYTES * (size_t)(head[i].runs[0] + head[i].runs[1]);
	return from->bytes > LZ4_LENGTH_BYTES + bytes ? bytes : 0;
}

static size_t unpacked_runs(const struct segment_cluster *from, const uint8_t *stored)
{
	size_t shapes = shape_bytes(from, stored), words;

	if (shapes == 0)
		return 0;
	words = get_le32(stored);
	return words <= (size_t)from->pages * DELTA_WORDS_MAX * 8 ? words + shapes : 0;
}

/* Bytes the cluster has when unpacked; 0: none that make sense. */
static size_t unpacked_size(const struct segment_cluster *from, const uint8_t *stored)
{
	size_t pages = from->pages;
	unsigned long long len;

	if (!codec_is_delta(from->codec))
		return pages * PAGE_BYTES;
	if (from->codec == CODEC_DELTA_RAW)
		return from->bytes;
	if (from->codec == CODEC_DELTA_RUNS)
		return unpacked_runs(from, stored);
	if (from->codec == CODEC_DELTA_LZ4)
		len = from->bytes < LZ4_LENGTH_BYTES ? 0 : get_le32(stored);
	else
		len = ZSTD_getFrameContentSize(stored, from->bytes);
	return len <= pages * (DELTA_BITMAP_BYTES + PAGE_BYTES) ? (size_t)len : 0;
}

/* Finds where each difference is; false if the words are not as many as the bitmaps say. */
static bool find_bitmaps(struct cluster *cluster, size_t len)
{
	uint32_t shape = 0, at = cluster->pages * DELTA_BITMAP_BYTES;

	if (len < at)
		return false;
	for (uint32_t i = 0; i < cluster->pages; i++, shape += DELTA_BITMAP_BYTES) {
		cluster->spots[i] = spot_of(at, shape, 0, 0);
		at += 8 * delta_bitmap_count(cluster->bytes + shape);
	}
	cluster->spots[cluster->pages] = spot_of(at, shape, 0, 0);
	return at == len;
}

/* The same of runs, whose heads begin at `heads`; whether they make sense is seen when a page is
 * made. */
static bool find_runs(struct cluster *cluster, size_t heads)
{
	const struct delta_head *head = heads_of(cluster->bytes + heads);
	uint32_t at = 0, shape = (uint32_t)heads + cluster->pages * DELTA_HEAD_BYTES;

	for (uint32_t i = 0; i < cluster->pages; i++, head++) {
		cluster->spots[i] = spot_of(at, shape, head->runs[0], head->runs[1]);
		at += 8 * (head->words_less_1 + 1u);
		shape += DELTA_RUN_BYTES * (head->runs[0] + (uint32_t)head->runs[1]);
	}
	cluster->spots[cluster->pages] = spot_of(at, shape, 0, 0);
	return at == heads && shape == cluster->len;
}

/* Makes of the stored planes the pages; sets ->whole if that can be done. */
static int unpack_planes(struct unpacker *unpacker, const struct segment_cluster *from, size_t len,
			 struct cluster *cluster)
{
	if (!unpacker->planes && !(unpacker->planes = malloc(SEGMENT_BYTES))) {
		warn("out of memory");
		return R_FAILED;
	}
	if (ZSTD_decompressDCtx(unpacker->zstd, unpacker->planes, len, unpacker->stored,
				from->bytes) != len)
		return R_OK;
	planes_join(unpacker->planes, len, cluster->bytes);
	cluster->whole = true;
	return R_OK;
}

/* What lies from `at` on. */
static bool unpack_lz4(const struct unpacker *unpacker, const struct segment_cluster *from,
		       size_t at, uint8_t *to, size_t len)
{
	return LZ4_decompress_safe((const char *)unpacker->stored + at, (char *)to,
				   (int)(from->bytes - at), (int)len) == (int)len;
}

static bool unpack_runs(const struct unpacker *unpacker, const struct segment_cluster *from,
			struct cluster *cluster)
{
	size_t shapes = shape_bytes(from, unpacker->stored), words = cluster->len - shapes;

	memcpy(cluster->bytes + words, unpacker->stored + LZ4_LENGTH_BYTES, shapes);
	return unpack_lz4(unpacker, from, LZ4_LENGTH_BYTES + shapes, cluster->bytes, words) &&
	       find_runs(cluster, words);
}

static int unpack(struct unpacker *unpacker, const struct segment_cluster *from, uint8_t *to,
		  struct cluster *cluster)
{
	size_t len = unpacked_size(from, unpacker->stored);

	if (len == 0)
		return R_OK;
	cluster->bytes = to ? to : room_for(unpacker, len);
	cluster->lent = to != NULL;
	cluster->len = len;
	if (!cluster->bytes) {
		warn("out of memory");
		return R_FAILED;
	}
	cluster->size_bytes += room_taken(len);
	if (from->codec == CODEC_PLANES)
		return unpack_planes(unpacker, from, len, cluster);
	if (from->codec == CODEC_DELTA_RUNS) {
		cluster->whole = unpack_runs(unpacker, from, cluster);
		return R_OK;
	}
	if (from->codec == CODEC_RAW || from->codec == CODEC_DELTA_RAW) {
		if (from->bytes != len)
			return R_OK;
		memcpy(cluster->bytes, unpacker->stored, len);
	} else if (from->codec == CODEC_DELTA_LZ4) {
		if (!unpack_lz4(unpacker, from, LZ4_LENGTH_BYTES, cluster->bytes, len))
			return R_OK;
	} else if (ZSTD_decompressDCtx(unpacker->zstd, cluster->bytes, len, unpacker->stored,
				       from->bytes) != len) {
		return R_OK;
	}
	cluster->whole = !cluster->delta || find_bitmaps(cluster, len);
	return R_OK;
}

/* Whether the bytes that were read are what was written, so far as the unpacker is to know. */
static bool has_sum(const struct unpacker *unpacker, const struct segment_cluster *from)
{
	return !unpacker->secret || !from->has_sum ||
	       segment_checksum(unpacker->secret, unpacker->stored, from->bytes) == from->sum;
}

struct cluster_place cluster_place_of(const struct segment *segment, uint32_t index, int fd)
{
	const struct segment_record *record = &segment->record;

	return (struct cluster_place){
		.first = record->first,
		.index = index,
		.cluster = segment->cluster[index],
		.pack = record->pack,
		.offset = record->offset + record->header_bytes + segment->cluster[index].offset,
		.fd = fd,
	};
}

int cluster_read(struct unpacker *unpacker, const struct cluster_place *place, uint8_t *to,
		 struct cluster **cluster)
{
	const struct segment_cluster *from = &place->cluster;
	bool delta = codec_is_delta(from->codec);
	size_t spots = delta ? from->pages + 1u : 0;
	size_t len = sizeof(struct cluster) + spots * sizeof(cluster_spot);
	struct cluster *new = calloc(1, len);
	int result;

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	new->first = place->first;
	new->index = place->index;
	new->delta = delta;
	new->runs = from->codec == CODEC_DELTA_RUNS;
	new->pages = from->pages;
	new->size_bytes = len;
	result = io_pread_all(place->fd, unpacker->stored, from->bytes, (off_t)place->offset);
	if (result == R_FAILED && errno != EIO)
		warn_errno("cannot read pack %016lx", (unsigned long)place->pack);
	else if (result == R_OK && has_sum(unpacker, from))
		result = unpack(unpacker, from, to, new);
	else
		result = R_OK;
	if (result == R_OK)
		*cluster = new;
	else
		cluster_free(new);
	return result;
}

const uint8_t *cluster_page(const struct cluster *cluster, uint32_t at)
{
	return cluster->bytes + (size_t)at * PAGE_BYTES;
}

static uint32_t words_of(const cluster_spot *spot)
{
	return (spot_words(spot[1]) - spot_words(spot[0])) / 8;
}

/* As it is stored, but from what is at hand: the heads of a cluster lie where nothing else is
 * needed. */
static struct delta_head head_of(const cluster_spot *spot)
{
	return (struct delta_head){ (uint8_t)(words_of(spot) - 1),
				    { spot_runs(*spot, 0), spot_runs(*spot, 1) } };
}

void cluster_apply(const struct cluster *cluster, uint32_t at, uint8_t *page)
{
	const cluster_spot *spot = &cluster->spots[at];
	const uint8_t *shape = cluster->bytes + spot_shape(*spot);
	const uint8_t *words = cluster->bytes + spot_words(*spot);

	if (cluster->runs)
		delta_apply_runs(page, head_of(spot), shape, words);
	else
		delta_apply(page, shape, words);
}

void cluster_differs(const struct cluster *cluster, uint32_t at, uint8_t *bitmap)
{
	const cluster_spot *spot = &cluster->spots[at];
	const uint8_t *shape = cluster->bytes + spot_shape(*spot);

	if (cluster->runs)
		delta_bitmap_of_runs(head_of(spot), shape, bitmap);
	else
		memcpy(bitmap, shape, DELTA_BITMAP_BYTES);
}

const uint8_t *cluster_words(const struct cluster *cluster, uint32_t at, uint32_t *n)
{
	*n = words_of(&cluster->spots[at]);
	return cluster->bytes + spot_words(cluster->spots[at]);
}

void cluster_fetch_ahead(const struct cluster *cluster, uint32_t at)
{
	const uint8_t *from = cluster->bytes;
	size_t n = FETCH_LINES;

	if (cluster->delta) {
		uint32_t words;

		__builtin_prefetch(from + spot_shape(cluster->spots[at]));
		from = cluster_words(cluster, at, &words);
		n = words * 8 / LINE_BYTES + 1;
		n = n < FETCH_LINES ? n : FETCH_LINES;
	} else {
		from += (size_t)at * PAGE_BYTES;
	}
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(from + i * LINE_BYTES);
}

void cluster_fetch_spot(const struct cluster *cluster, uint32_t at)
{
	__builtin_prefetch(&cluster->spots[at]);
}

struct cluster_cache *cluster_cache_new(size_t budget_bytes)
{
	struct cluster_cache *cache = calloc(1, sizeof(*cache));

	if (cache)
		cache->budget_bytes = budget_bytes;
	return cache;
}

void cluster_cache_free(struct cluster_cache *cache)
{
	struct cluster *older;

	if (!cache)
		return;
	for (struct cluster *at = cache->newest; at; at = older) {
		older = at->older;
		cluster_free(at);
	}
	free(cache);
}

void cluster_cache_resize(struct cluster_cache *cache, size_t budget_bytes)
{
	cache->budget_bytes = budget_bytes;
}

static struct cluster **bucket_of(struct cluster_cache *cache, page_no first, uint32_t index)
{
	uint64_t key = (first + index) * UINT64_C(0x9e3779b97f4a7c15);

	return &cache->buckets[(key >> 32) % BUCKETS];
}

static void unlink_one(struct cluster_cache *cache, struct cluster *cluster)
{
	*(cluster->newer ? &cluster->newer->older : &cache->newest) = cluster->older;
	*(cluster->older ? &cluster->older->newer : &cache->oldest) = cluster->newer;
}

static void link_newest(struct cluster_cache *cache, struct cluster *cluster)
{
	cluster->newer = NULL;
	cluster->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = cluster;
	cache->newest = cluster;
}

struct cluster *cluster_cache_find(struct cluster_cache *cache, page_no first, uint32_t index)
{
	struct cluster *at = *bucket_of(cache, first, index);

	while (at && (at->first != first || at->index != index))
		at = at->chained;
	if (at && at != cache->newest) {
		unlink_one(cache, at);
		link_newest(cache, at);
	}
	if (at)
		at->round = cache->round;
	return at;
}

void cluster_cache_take(struct cluster_cache *cache, struct cluster *cluster)
{
	struct cluster **link = bucket_of(cache, cluster->first, cluster->index);

	while (*link != cluster)
		link = &(*link)->chained;
	*link = cluster->chained;
	unlink_one(cache, cluster);
	cache->used_bytes -= cluster->size_bytes;
}

static void drop_oldest(struct cluster_cache *cache)
{
	struct cluster *oldest = cache->oldest;

	cluster_cache_take(cache, oldest);
	cluster_free(oldest);
}

void cluster_cache_round(struct cluster_cache *cache, uint64_t kept)
{
	cache->round++;
	while (cache->oldest && cache->round - cache->oldest->round > kept)
		drop_oldest(cache);
}

void cluster_cache_put(struct cluster_cache *cache, struct cluster *cluster)
{
	struct cluster **bucket = bucket_of(cache, cluster->first, cluster->index);

	cluster->round = cache->round;
	cluster->chained = *bucket;
	*bucket = cluster;
	link_newest(cache, cluster);
	cache->used_bytes += cluster->size_bytes;
	while (cache->used_bytes > cache->budget_bytes && cache->oldest != cluster)
		drop_oldest(cache);
}
