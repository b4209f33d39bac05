#include "store/format.h"

#include "base/endian.h"

#include <string.h>
#include <xxhash.h>

void segment_record_encode(const struct segment_record *record, uint8_t *raw)
{
	put_le64(raw, record->pack);
	put_le64(raw + 8, record->offset);
	put_le32(raw + 16, record->header_bytes);
	put_le32(raw + 20, record->body_bytes);
	put_le32(raw + 24, record->pages);
	put_le32(raw + 28, record->flags);
	put_le64(raw + 32, record->last);
	put_le64(raw + 40, record->checksum);
}

void segment_record_decode(page_no first, const uint8_t *raw, struct segment_record *record)
{
	record->first = first;
	record->pack = get_le64(raw);
	record->offset = get_le64(raw + 8);
	record->header_bytes = get_le32(raw + 16);
	record->body_bytes = get_le32(raw + 20);
	record->pages = get_le32(raw + 24);
	record->flags = get_le32(raw + 28);
	record->last = get_le64(raw + 32);
	record->checksum = get_le64(raw + 40);
}

void pack_record_encode(const struct pack_record *record, uint8_t *raw)
{
	put_le64(raw, record->bytes);
	put_le64(raw + 8, record->segments);
}

void pack_record_decode(const uint8_t *raw, struct pack_record *record)
{
	record->bytes = get_le64(raw);
	record->segments = get_le64(raw + 8);
}

void condemned_record_encode(const struct condemned_record *record, uint8_t *raw)
{
	put_le64(raw, record->txn);
	put_le64(raw + 8, record->digest);
	put_le32(raw + 16, record->live);
	put_le32(raw + 20, 0);
}

void condemned_record_decode(const uint8_t *raw, struct condemned_record *record)
{
	record->txn = get_le64(raw);
	record->digest = get_le64(raw + 8);
	record->live = get_le32(raw + 16);
}

void hole_record_encode(const struct hole_record *record, uint8_t *raw)
{
	put_le64(raw, record->txn);
	put_le64(raw + 8, record->bytes);
}

void hole_record_decode(const uint8_t *raw, struct hole_record *record)
{
	record->txn = get_le64(raw);
	record->bytes = get_le64(raw + 8);
}

/* The numbers of a generation in the order of the record, so that both ways share one list. */
#define GENERATION_NUMBERS 13
#define AT_NUMBERS 72
#define AT_BEFORE 176
#define AT_LINEAGE 208
#define AT_CHECKSUM 200

/* Of the record with its number, the checksum itself left out. */
static uint64_t generation_checksum(uint64_t number, const uint8_t *raw)
{
	return XXH3_64bits_withSeed(raw, AT_CHECKSUM, number) ^
	       XXH3_64bits_withSeed(raw + AT_LINEAGE, LINEAGE_NAME_MAX, number);
}

bool generation_record_whole(uint64_t number, const uint8_t *raw)
{
	return get_le64(raw + AT_CHECKSUM) == generation_checksum(number, raw);
}

void generation_record_encode(const struct generation_record *record, uint8_t *raw)
{
	const struct generation *gen = &record->gen;
	const uint64_t numbers[GENERATION_NUMBERS] = {
		gen->frozen_ns,	   gen->wall_ns,     gen->pages_scanned, gen->pages_new,
		gen->pages_shared, gen->pages_zero,  gen->bytes_logical, gen->bytes_stored,
		gen->bytes_data,   gen->bytes_trees, gen->bytes_images,	 gen->bytes_headers,
		gen->bytes_index,
	};

	memset(raw, 0, GENERATION_RECORD_BYTES);
	put_le64(raw, record->commit_txn);
	put_le64(raw + 8, record->directory.root);
	put_le64(raw + 16, record->directory.length_bytes);
	put_le32(raw + 24, record->directory.height);
	put_le32(raw + 28, (gen->pinned ? 1u : 0) | (gen->predump ? 2u : 0));
	put_le64(raw + 32, (uint64_t)gen->time_ns);
	put_le64(raw + 40, gen->root_start);
	put_le32(raw + 48, gen->root_pid);
	put_le32(raw + 52, gen->tasks);
	memcpy(raw + 56, gen->boot_id, sizeof(gen->boot_id));
	for (size_t i = 0; i < GENERATION_NUMBERS; i++)
		put_le64(raw + AT_NUMBERS + 8 * i, numbers[i]);
	put_le64(raw + AT_BEFORE, gen->before);
	memcpy(raw + AT_LINEAGE, gen->lineage, LINEAGE_NAME_MAX);
	raw[GENERATION_RECORD_BYTES - 1] = 0;
	put_le64(raw + AT_CHECKSUM, generation_checksum(gen->number, raw));
}

void generation_record_decode(uint64_t number, const uint8_t *raw, struct generation_record *record)
{
	struct generation *gen = &record->gen;
	uint64_t *const numbers[GENERATION_NUMBERS] = {
		&gen->frozen_ns,    &gen->wall_ns,     &gen->pages_scanned, &gen->pages_new,
		&gen->pages_shared, &gen->pages_zero,  &gen->bytes_logical, &gen->bytes_stored,
		&gen->bytes_data,   &gen->bytes_trees, &gen->bytes_images,  &gen->bytes_headers,
		&gen->bytes_index,
	};

	memset(record, 0, sizeof(*record));
	record->commit_txn = get_le64(raw);
	record->directory.root = get_le64(raw + 8);
	record->directory.length_bytes = get_le64(raw + 16);
	record->directory.height = get_le32(raw + 24);
	gen->number = number;
	gen->pinned = get_le32(raw + 28) & 1;
	gen->predump = get_le32(raw + 28) & 2;
	gen->time_ns = (int64_t)get_le64(raw + 32);
	gen->root_start = get_le64(raw + 40);
	gen->root_pid = get_le32(raw + 48);
	gen->tasks = get_le32(raw + 52);
	memcpy(gen->boot_id, raw + 56, sizeof(gen->boot_id));
	for (size_t i = 0; i < GENERATION_NUMBERS; i++)
		*numbers[i] = get_le64(raw + AT_NUMBERS + 8 * i);
	gen->before = get_le64(raw + AT_BEFORE);
	memcpy(gen->lineage, raw + AT_LINEAGE, LINEAGE_NAME_MAX - 1);
}
