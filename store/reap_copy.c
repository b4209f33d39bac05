#include "base/result.h"
#include "base/warn.h"
#include "store/pack_write.h"
#include "store/reap_hole.h"
#include "store/segment_cache.h"
#include "store/segment_read.h"
#include "store/store_reap.h"

#include <stdlib.h>
#include <string.h>

/* Unpacked clusters a thread keeps: it reads in order of number, and every page about once. */
#define CLUSTERS_BYTES ((size_t)8 << 20)

struct reap_copies {
	struct store *store;
	struct pack_writer *packs;
};

struct reap_copier {
	struct reap_copies *copies;
	struct store_view *view;
	struct segment_encoder *encoders[2]; /* as takes do, strongly */
	uint8_t *bytes, *base_bytes;	     /* of SEGMENT_PAGES pages each */
	uint8_t hashes[SEGMENT_PAGES][HASH_BYTES];
	struct segment_page pages[SEGMENT_PAGES];
};

struct reap_copies *reap_copies_new(struct store *store)
{
	struct reap_copies *copies = calloc(1, sizeof(*copies));

	if (!copies) {
		warn("out of memory");
		return NULL;
	}
	copies->store = store;
	copies->packs = pack_writer_new(store);
	if (copies->packs)
		return copies;
	free(copies);
	return NULL;
}

int reap_copier_open(struct reap_copies *copies, struct reap_copier **copier)
{
	struct reap_copier *new = calloc(1, sizeof(*new));

	if (!new)
		goto err0;
	new->copies = copies;
	new->bytes = malloc(SEGMENT_BYTES);
	new->base_bytes = malloc(SEGMENT_BYTES);
	if (!new->bytes || !new->base_bytes)
		goto err1;
	if (store_view_open(copies->store, &new->view) != R_OK) {
		reap_copier_close(new);
		return R_FAILED;
	}
	cluster_cache_resize(new->view->cache->clusters, CLUSTERS_BYTES);
	view_check_sums(new->view);
	*copier = new;
	return R_OK;

err1:
	reap_copier_close(new);
err0:
	warn("out of memory");
	return R_FAILED;
}

void reap_copier_close(struct reap_copier *copier)
{
	if (!copier)
		return;
	store_view_close(copier->view);
	segment_encoder_free(copier->encoders[0]);
	segment_encoder_free(copier->encoders[1]);
	free(copier->bytes);
	free(copier->base_bytes);
	free(copier);
}

/* A page itself, verified, and its base if it stays a difference. */
static int gather_bytes(struct reap_copier *copier, struct segment_page *page, uint8_t *bytes,
			uint8_t *base_bytes)
{
	const uint8_t *from;
	int result;

	result = view_page(copier->view, page->number, &from);
	if (result != R_OK)
		return result;
	memcpy(bytes, from, PAGE_BYTES);
	page->bytes = bytes;
	if (page->base == PAGE_ABSENT)
		return R_OK;
	result = view_page(copier->view, page->base, &from);
	if (result != R_OK)
		return result;
	memcpy(base_bytes, from, PAGE_BYTES);
	page->base_bytes = base_bytes;
	return R_OK;
}

/*
 * Gathers one page.  A difference that its cluster's checksum vouches for goes as it is: what it is
 * a difference to stays where it is, and is not read, which would take longer than all the rest.
 */
static int gather(struct reap_copier *copier, page_no number, bool full, uint32_t i)
{
	struct segment_page *page = &copier->pages[i];
	uint8_t *bytes = copier->bytes + (size_t)i * PAGE_BYTES;
	const struct segment *segment;
	enum codec codec;
	uint32_t place;
	int result;

	*page = (struct segment_page){
		.number = number,
		.hash = copier->hashes[i],
	};
	result = view_segment(copier->view, number, &segment, &place);
	if (result != R_OK)
		return result;
	memcpy(copier->hashes[i], segment_hash(segment, place), HASH_BYTES);
	codec = segment->cluster[segment->pages[place].cluster].codec;
	page->raw = codec == CODEC_RAW;
	page->tight = codec == CODEC_DELTA_ZSTD;
	page->sealed = segment->record.flags & SEGMENT_SEALED;
	result = R_NOT_FOUND;
	if (!full) {
		page->base = segment_base(segment, place);
		result = view_page_difference(copier->view, number, bytes);
	}
	if (result == R_OK)
		page->difference = bytes;
	if (result != R_NOT_FOUND)
		return result;
	return gather_bytes(copier, page, bytes, copier->base_bytes + (size_t)i * PAGE_BYTES);
}

static struct segment_encoder *encoder_of(struct reap_copier *copier, bool strong)
{
	const struct store *store = copier->copies->store;
	struct segment_coding coding = segment_coding_of(store->version, strong);

	/* By zstd: differences take a third of the time to pack and are a fifth shorter than by
	 * LZ4, for twice the time to unpack, which counts less for what gc moves.  Figures in
	 * docs/store-figures.md. */
	coding.lz4_level = 0;
	if (!copier->encoders[strong])
		copier->encoders[strong] = segment_encoder_new(store->secret, &coding);
	return copier->encoders[strong];
}

int reap_copy(struct reap_copier *copier, const page_no *numbers, uint32_t n, bool strong,
	      const struct page_set *full, struct segment_record *record, page_no *bad)
{
	struct segment_encoder *encoder = encoder_of(copier, strong);
	const uint8_t *bytes;

	if (!encoder)
		return R_FAILED;
	for (uint32_t i = 0; i < n; i++) {
		int result = gather(copier, numbers[i], page_set_has(full, numbers[i]), i);

		if (result != R_OK) {
			*bad = numbers[i];
			return result;
		}
	}
	bytes = segment_encode(encoder, copier->pages, n, record);
	return pack_writer_append(copier->copies->packs, bytes, record);
}

int reap_copies_sync(struct reap_copies *copies)
{
	return pack_writer_sync(copies->packs);
}

uint64_t reap_copies_bytes(struct reap_copies *copies)
{
	return pack_writer_bytes(copies->packs);
}

int reap_copies_put(struct reap *reap, struct reap_copies *copies)
{
	return pack_writer_put(copies->packs, reap_view(reap)->txn);
}

int reap_replace(struct reap *reap, const struct reap_segment *old, size_t n_old,
		 const struct segment_record *copy, size_t n_copies)
{
	struct index_txn *txn = reap_view(reap)->txn;
	uint8_t raw[SEGMENT_RECORD_BYTES];

	for (size_t i = 0; i < n_old; i++) {
		const struct segment_record *record = &old[i].record;

		if (index_del_u64(txn, DB_SEGMENT, record->first) != R_OK ||
		    index_del_u64(txn, DB_CONDEMNED, record->first) == R_FAILED ||
		    hole_put(txn, record->pack, record->offset, old[i].bytes, reap_txn(reap)) !=
			R_OK)
			return R_FAILED;
	}
	for (size_t i = 0; i < n_copies; i++) {
		segment_record_encode(&copy[i], raw);
		if (index_put_u64(txn, DB_SEGMENT, copy[i].first, raw, sizeof(raw)) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

int reap_discard(struct reap *reap, const struct segment_record *copy)
{
	struct index_txn *txn = reap_view(reap)->txn;

	if (hole_put(txn, copy->pack, copy->offset, (uint64_t)copy->header_bytes + copy->body_bytes,
		     HOLE_FREE) != R_OK)
		return R_FAILED;
	return pack_release(txn, copy->pack);
}

void reap_copies_close(struct reap_copies *copies, bool committed)
{
	if (!copies)
		return;
	pack_writer_close(copies->packs, committed);
	free(copies);
}
