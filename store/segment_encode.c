#include "store/segment_encode.h"

#include "base/endian.h"
#include "base/warn.h"
#include "store/delta.h"
#include "store/lz4_block.h"
#include "store/page.h"
#include "store/planes.h"
#include "store/varint.h"

#include <lz4hc.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Matches of four bytes are a fifth of all, and save 4 % of what is packed. */
#define LZ4_MATCH_LEAST 5u

static const struct segment_coding coding_take_2 = {
	.level = 1,
	.delta_level = 2,
	.cluster_pages = 16,
};

const struct segment_coding segment_coding_take = {
	.level = 2,
	.delta_level = 2,
	.lz4_level = 3,
	.runs = true,
	.cluster_pages = 8,
	.flags = SEGMENT_SUMS,
};

const struct segment_coding segment_coding_strong = {
	.level = 6,
	.delta_level = 6,
	.cluster_pages = SEGMENT_PAGES,
	.flags = SEGMENT_STRONG | SEGMENT_SUMS,
};

struct segment_coding segment_coding_of(unsigned int version, bool strong)
{
	struct segment_coding coding = strong		      ? segment_coding_strong
				       : version < FORMAT_LZ4 ? coding_take_2
							      : segment_coding_take;

	coding.runs &= version >= FORMAT_RUNS;
	if (version < FORMAT_SUMS)
		coding.flags &= ~(uint32_t)SEGMENT_SUMS;
	return coding;
}

struct cluster {
	uint32_t pages, bytes;
	enum codec codec;
	uint64_t sum;
};

struct segment_encoder {
	const uint8_t *secret;
	struct segment_coding coding;
	ZSTD_CCtx *zstd;
	LZ4_streamHC_t *lz4; /* NULL: nothing was packed by it yet */
	uint8_t *scratch;    /* SEGMENT_BYTES: one cluster before compression */
	uint8_t *block;	     /* the same, with lz4: as it packs, before that is made easier */
	uint8_t *planes;     /* two of these, once they were wanted: the planes, and these packed */
	uint8_t *out; /* SEGMENT_HEADER_MAX, then the body; the header ends where that begins */
	uint32_t body_bytes;
	uint32_t n_clusters;
	struct cluster clusters[SEGMENT_PAGES];
	bool delta[SEGMENT_PAGES];
	bool tight; /* the differences of this segment */
};

struct segment_encoder *segment_encoder_new(const uint8_t *secret,
					    const struct segment_coding *coding)
{
	struct segment_encoder *encoder = calloc(1, sizeof(*encoder));

	if (encoder) {
		encoder->secret = secret;
		encoder->coding = *coding;
		encoder->zstd = ZSTD_createCCtx();
		encoder->scratch = malloc(SEGMENT_BYTES);
		encoder->out = malloc(SEGMENT_HEADER_MAX + SEGMENT_BYTES);
		if (encoder->zstd && encoder->scratch && encoder->out)
			return encoder;
	}
	warn("out of memory");
	segment_encoder_free(encoder);
	return NULL;
}

void segment_encoder_free(struct segment_encoder *encoder)
{
	if (!encoder)
		return;
	ZSTD_freeCCtx(encoder->zstd);
	LZ4_freeStreamHC(encoder->lz4);
	free(encoder->scratch);
	free(encoder->block);
	free(encoder->planes);
	free(encoder->out);
	free(encoder);
}

/* One frame of the planes, each with blocks of its own, so that what is known of one does not blur
 * the next.  Its length, 0 if it is not shorter than `room`. */
static size_t press_planes(struct segment_encoder *encoder, size_t len, uint8_t *to, size_t room)
{
	ZSTD_outBuffer out = { to, room, 0 };
	size_t left = 0;

	ZSTD_CCtx_reset(encoder->zstd, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel, encoder->coding.level);
	ZSTD_CCtx_setPledgedSrcSize(encoder->zstd, len);
	for (size_t plane = 0; plane < PLANES; plane++) {
		ZSTD_inBuffer in = { encoder->planes + plane * (len / PLANES), len / PLANES, 0 };

		left = ZSTD_compressStream2(encoder->zstd, &out, &in,
					    plane + 1 < PLANES ? ZSTD_e_flush : ZSTD_e_end);
		if (ZSTD_isError(left) || left > 0)
			break;
	}
	ZSTD_CCtx_reset(encoder->zstd, ZSTD_reset_session_and_parameters);
	return left == 0 ? out.pos : 0;
}

/* Packs the scratch as planes if it hardly got smaller otherwise (to `got` bytes) and they promise
 * more.  Their length at `to`, 0 if it stays as it was.  Without memory, too. */
static size_t try_planes(struct segment_encoder *encoder, size_t len, size_t got, uint8_t *to)
{
	uint8_t *packed;
	size_t better;

	if (got < len - len / PLANES || !planes_promise(encoder->scratch, len) ||
	    (!encoder->planes && !(encoder->planes = malloc(2 * SEGMENT_BYTES))))
		return 0;
	packed = encoder->planes + SEGMENT_BYTES;
	planes_split(encoder->scratch, len, encoder->planes);
	better = press_planes(encoder, len, packed, got - got / 64);
	memcpy(to, packed, better);
	return better;
}

static size_t press_zstd(struct segment_encoder *encoder, size_t len, int level, uint8_t *to)
{
	size_t got = ZSTD_compressCCtx(encoder->zstd, to, len - 1, encoder->scratch, len, level);

	return ZSTD_isError(got) ? 0 : got;
}

/* An LZ4 block of `from`; its length at `to`, 0 if it is not shorter than that and `more`. */
static size_t press_block(struct segment_encoder *encoder, const uint8_t *from, size_t len,
			  size_t more, uint8_t *to)
{
	int got;

	if (len <= more + 1)
		return 0;
	/* As if new, but without its tables being cleared: 256 KiB each time. */
	LZ4_resetStreamHC_fast(encoder->lz4, encoder->coding.lz4_level);
	got = LZ4_compress_HC_continue(encoder->lz4, (const char *)from, (char *)encoder->block,
				       (int)len, (int)(len - more - 1));
	if (got <= 0)
		return 0;
	return lz4_block_ease(encoder->block, (size_t)got, from, LZ4_MATCH_LEAST, to,
			      len - more - 1);
}

static size_t press_lz4(struct segment_encoder *encoder, size_t len, uint8_t *to)
{
	size_t got =
	    press_block(encoder, encoder->scratch, len, LZ4_LENGTH_BYTES, to + LZ4_LENGTH_BYTES);

	put_le32(to, (uint32_t)len);
	return got > 0 ? got + LZ4_LENGTH_BYTES : 0;
}

/* Whether differences go by LZ4; without memory they do not. */
static bool by_lz4(struct segment_encoder *encoder)
{
	if (encoder->coding.lz4_level == 0 || encoder->tight)
		return false;
	if (!encoder->lz4)
		encoder->lz4 = LZ4_createStreamHC();
	if (!encoder->block)
		encoder->block = malloc(SEGMENT_BYTES);
	return encoder->lz4 && encoder->block;
}

/* Packs `len` bytes of the scratch and sets the codec.  Their length at `to`, 0 if they do not get
 * shorter. */
static size_t press_bytes(struct segment_encoder *encoder, size_t len, bool delta, uint8_t *to,
			  enum codec *codec)
{
	if (delta && by_lz4(encoder)) {
		*codec = CODEC_DELTA_LZ4;
		return press_lz4(encoder, len, to);
	}
	*codec = delta ? CODEC_DELTA_ZSTD : CODEC_ZSTD;
	return press_zstd(encoder, len, delta ? encoder->coding.delta_level : encoder->coding.level,
			  to);
}

static uint8_t *end_of_body(const struct segment_encoder *encoder)
{
	return encoder->out + SEGMENT_HEADER_MAX + encoder->body_bytes;
}

/* What has been put at the end of the body is a cluster. */
static void end_cluster(struct segment_encoder *encoder, uint32_t pages, enum codec codec,
			size_t bytes)
{
	struct cluster *cluster = &encoder->clusters[encoder->n_clusters++];

	*cluster = (struct cluster){ .pages = pages, .bytes = (uint32_t)bytes, .codec = codec };
	if (encoder->coding.flags & SEGMENT_SUMS)
		cluster->sum = segment_checksum(encoder->secret, end_of_body(encoder), bytes);
	encoder->body_bytes += (uint32_t)bytes;
}

/* Appends `len` bytes of the scratch as a cluster, with `press` compressed if that makes them
 * fewer. */
static void add_cluster(struct segment_encoder *encoder, uint32_t pages, size_t len, bool delta,
			bool press)
{
	uint8_t *to = end_of_body(encoder);
	size_t got = 0, planes = 0;
	enum codec codec;

	if (press)
		got = press_bytes(encoder, len, delta, to, &codec);
	if (got == 0) {
		codec = delta ? CODEC_DELTA_RAW : CODEC_RAW;
		memcpy(to, encoder->scratch, len);
		got = len;
	}
	if (press && !delta)
		planes = try_planes(encoder, len, got, to);
	if (planes > 0) {
		codec = CODEC_PLANES;
		got = planes;
	}
	end_cluster(encoder, pages, codec, got);
}

/* Pages known not to compress are kept apart from the others. */
static void add_full(struct segment_encoder *encoder, const struct segment_page *pages, uint32_t n)
{
	uint32_t held = 0;
	bool raw = false;

	for (uint32_t i = 0; i < n; i++) {
		bool as_it_is = pages[i].raw || pages[i].sealed;

		if (encoder->delta[i])
			continue;
		if (held > 0 && (held == encoder->coding.cluster_pages || as_it_is != raw)) {
			add_cluster(encoder, held, (size_t)held * PAGE_BYTES, false, !raw);
			held = 0;
		}
		raw = as_it_is;
		memcpy(encoder->scratch + (size_t)held++ * PAGE_BYTES, pages[i].bytes, PAGE_BYTES);
	}
	if (held > 0)
		add_cluster(encoder, held, (size_t)held * PAGE_BYTES, false, !raw);
}

/* Writes bitmap and words; returns the bytes of these. */
static size_t gather_words(const struct segment_page *page, uint8_t *bitmap, uint8_t *words)
{
	size_t bytes;

	if (!page->difference)
		return 8 * (size_t)delta_gather(page->bytes, page->base_bytes, bitmap, words);
	bytes = 8 * (size_t)delta_bitmap_count(page->difference);
	memcpy(bitmap, page->difference, DELTA_BITMAP_BYTES);
	memcpy(words, page->difference + DELTA_BITMAP_BYTES, bytes);
	return bytes;
}

/*
 * Appends the bitmaps and words of the scratch, `len` bytes, as a cluster with runs: the length of
 * all words, the heads, the runs, an LZ4 block of the words.  False if that is not how they go, or
 * it would not be shorter; or if words are changed here and there, so that their many runs, which
 * are not packed, take more than half of what the bitmaps do: these pack well then.
 */
static bool add_runs(struct segment_encoder *encoder, uint32_t deltas, size_t len)
{
	const uint8_t *words = encoder->scratch + (size_t)deltas * DELTA_BITMAP_BYTES;
	uint8_t *to = end_of_body(encoder), *head = to + LZ4_LENGTH_BYTES;
	uint8_t *at = head + (size_t)deltas * DELTA_HEAD_BYTES;
	size_t words_bytes = len - (size_t)(words - encoder->scratch), shapes, got;

	if (!encoder->coding.runs || !by_lz4(encoder))
		return false;
	put_le32(to, (uint32_t)words_bytes);
	for (uint32_t i = 0; i < deltas; i++, head += DELTA_HEAD_BYTES) {
		const uint8_t *bitmap = encoder->scratch + (size_t)i * DELTA_BITMAP_BYTES;

		/* A page can be there twice where the first one is damaged. */
		if (delta_bitmap_count(bitmap) == 0)
			return false;
		at += DELTA_RUN_BYTES *
		      (size_t)delta_make_runs(bitmap, (struct delta_head *)head, at);
	}
	shapes = (size_t)(at - to);
	if (shapes > (size_t)deltas * DELTA_BITMAP_BYTES / 2)
		return false;
	got = press_block(encoder, words, words_bytes, 0, at);
	if (got == 0 || got + shapes >= len)
		return false;
	end_cluster(encoder, deltas, CODEC_DELTA_RUNS, shapes + got);
	return true;
}

/* All differences of a segment are one cluster: first the bitmaps, then the words. */
static void add_deltas(struct segment_encoder *encoder, const struct segment_page *pages,
		       uint32_t n, uint32_t deltas)
{
	uint8_t *bitmap = encoder->scratch;
	uint8_t *words = bitmap + (size_t)deltas * DELTA_BITMAP_BYTES;

	if (deltas == 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (!encoder->delta[i])
			continue;
		words += gather_words(&pages[i], bitmap, words);
		bitmap += DELTA_BITMAP_BYTES;
	}
	if (!add_runs(encoder, deltas, (size_t)(words - encoder->scratch)))
		add_cluster(encoder, deltas, (size_t)(words - encoder->scratch), true, true);
}

/* The numbers whose length depends on their value. */
static uint8_t *put_table(const struct segment_encoder *encoder, const struct segment_page *pages,
			  const struct segment_record *record, uint8_t *at)
{
	page_no last_base = record->first;

	for (uint32_t i = 1; record->flags & SEGMENT_SPARSE && i < record->pages; i++)
		at = put_varint(at, pages[i].number - pages[i - 1].number - 1);
	for (uint32_t i = 0; record->flags & SEGMENT_DELTAS && i < record->pages; i++) {
		if (!encoder->delta[i]) {
			*at++ = 0;
			continue;
		}
		at = put_varint(at, zigzag((int64_t)(pages[i].base - last_base)) + 1);
		last_base = pages[i].base;
	}
	for (uint32_t i = 0; i < encoder->n_clusters; i++) {
		*at++ = (uint8_t)encoder->clusters[i].codec;
		at = put_varint(at, encoder->clusters[i].pages);
		at = put_varint(at, encoder->clusters[i].bytes);
	}
	for (uint32_t i = 0; record->flags & SEGMENT_SUMS && i < encoder->n_clusters; i++) {
		put_le64(at, encoder->clusters[i].sum);
		at += CLUSTER_SUM_BYTES;
	}
	return at;
}

/* Writes the header in front of the body; returns where it begins. */
static uint8_t *put_header(struct segment_encoder *encoder, const struct segment_page *pages,
			   struct segment_record *record)
{
	uint8_t raw[SEGMENT_HEADER_MAX], *at = raw + SEGMENT_HEAD_BYTES, *to;

	for (uint32_t i = 0; i < record->pages; i++, at += HASH_BYTES)
		memcpy(at, pages[i].hash, HASH_BYTES);
	at = put_table(encoder, pages, record, at);
	record->header_bytes = (uint32_t)(at - raw) + SEGMENT_CHECKSUM_BYTES;
	record->body_bytes = encoder->body_bytes;
	memcpy(raw, SEGMENT_MAGIC, 8);
	put_le16(raw + 8, (uint16_t)record->pages);
	put_le16(raw + 10, (uint16_t)encoder->n_clusters);
	put_le32(raw + 12, record->header_bytes);
	put_le32(raw + 16, record->body_bytes);
	put_le32(raw + 20, record->flags);
	put_le64(raw + 24, record->first);
	record->checksum = segment_checksum(encoder->secret, raw, (size_t)(at - raw));
	put_le64(at, record->checksum);
	to = encoder->out + SEGMENT_HEADER_MAX - record->header_bytes;
	memcpy(to, raw, record->header_bytes);
	return to;
}

static bool is_difference(const struct segment_page *page)
{
	return !page->sealed && page->base != PAGE_ABSENT && page->base < page->number &&
	       page->base <= PAGE_NO_MAX &&
	       (page->difference || delta_count(page->bytes, page->base_bytes) <= DELTA_WORDS_MAX);
}

const uint8_t *segment_encode(struct segment_encoder *encoder, const struct segment_page *pages,
			      uint32_t n, struct segment_record *record)
{
	uint32_t deltas = 0;

	encoder->tight = false;
	*record = (struct segment_record){
		.first = pages[0].number,
		.last = pages[n - 1].number,
		.pages = n,
		.flags = encoder->coding.flags,
	};
	for (uint32_t i = 0; i < n; i++) {
		encoder->delta[i] = is_difference(&pages[i]);
		deltas += encoder->delta[i];
		encoder->tight |= pages[i].tight;
	}
	if (pages[0].sealed)
		record->flags |= SEGMENT_SEALED;
	if (record->last - record->first != n - 1)
		record->flags |= SEGMENT_SPARSE;
	if (deltas > 0)
		record->flags |= SEGMENT_DELTAS;
	encoder->n_clusters = 0;
	encoder->body_bytes = 0;
	add_full(encoder, pages, n);
	add_deltas(encoder, pages, n, deltas);
	return put_header(encoder, pages, record);
}
