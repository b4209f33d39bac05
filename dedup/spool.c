#include "dedup/spool.h"

#include "base/result.h"
#include "base/room.h"
#include "base/warn.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* A stretch of base/room.h: resident once it is there, often since something else was in it. */
#define BLOCK_BYTES ((size_t)2 << 20)

struct block {
	uint8_t *pages;
	size_t used;
};

struct spool {
	struct block *blocks;
	size_t n_blocks, room_blocks, current; /* block being filled */
	size_t max_bytes;		       /* whole blocks: what is within it has a place */
	struct spool_record *records;
	size_t n_records, room_records, next;
};

static int add_block(struct spool *spool)
{
	struct block *block;

	if (spool->n_blocks == spool->room_blocks) {
		size_t room = spool->room_blocks ? spool->room_blocks * 2 : 16;
		struct block *more = reallocarray(spool->blocks, room, sizeof(*more));

		if (!more)
			return R_FAILED;
		spool->blocks = more;
		spool->room_blocks = room;
	}
	block = &spool->blocks[spool->n_blocks];
	block->pages = room_get(BLOCK_BYTES);
	if (!block->pages)
		return R_FAILED;
	block->used = 0;
	spool->n_blocks++;
	return R_OK;
}

struct spool *spool_new(size_t max_bytes, size_t ready_bytes)
{
	struct spool *spool = calloc(1, sizeof(*spool));

	if (!spool)
		return NULL;
	spool->max_bytes = max_bytes - max_bytes % BLOCK_BYTES;
	if (ready_bytes > spool->max_bytes)
		ready_bytes = spool->max_bytes;
	/* Records too, as if every second page had one of its own. */
	spool->room_records = ready_bytes / PAGE_BYTES / 2 + 1024;
	spool->records = malloc(spool->room_records * sizeof(*spool->records));
	if (!spool->records) {
		free(spool);
		return NULL;
	}
	memset(spool->records, 0, spool->room_records * sizeof(*spool->records));
	for (size_t ready = 0; ready < ready_bytes; ready += BLOCK_BYTES)
		if (add_block(spool) != R_OK)
			break; /* less is ready */
	return spool;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	for (size_t i = 0; i < spool->n_blocks; i++)
		room_put(spool->blocks[i].pages, BLOCK_BYTES);
	free(spool->blocks);
	free(spool->records);
	free(spool);
}

void *spool_room(struct spool *spool, size_t *n)
{
	struct block *block;
	size_t left;

	while (spool->current < spool->n_blocks &&
	       spool->blocks[spool->current].used == BLOCK_BYTES)
		spool->current++;
	if (spool->current == spool->n_blocks) {
		if ((spool->n_blocks + 1) * BLOCK_BYTES > spool->max_bytes ||
		    add_block(spool) != R_OK)
			return NULL;
	}
	block = &spool->blocks[spool->current];
	left = (BLOCK_BYTES - block->used) / PAGE_BYTES;
	if (*n > left)
		*n = left;
	return block->pages + block->used;
}

static int append(struct spool *spool, const struct spool_record *record)
{
	if (spool->n_records == spool->room_records) {
		size_t room = spool->room_records * 2;
		struct spool_record *more = reallocarray(spool->records, room, sizeof(*more));

		if (!more) {
			warn("no memory for what a take hands over; free some and try again");
			return R_FAILED;
		}
		spool->records = more;
		spool->room_records = room;
	}
	spool->records[spool->n_records++] = *record;
	return R_OK;
}

static bool has_room_for(const struct spool *spool, size_t n)
{
	size_t used = spool->current * BLOCK_BYTES;

	if (spool->current < spool->n_blocks)
		used += spool->blocks[spool->current].used;
	return n <= (spool->max_bytes - used) / PAGE_BYTES;
}

static int add_pages(struct spool *spool, const struct spool_record *record)
{
	struct spool_record part = *record;
	const uint8_t *from = record->pages;
	size_t left = record->n;

	if (!has_room_for(spool, left))
		return R_BUSY;
	while (left > 0) {
		uint8_t *room;
		int rc;

		part.n = left;
		room = spool_room(spool, &part.n);
		if (!room) {
			warn("no memory for what a take hands over; free some and try again");
			return R_FAILED;
		}
		if (room != from)
			memcpy(room, from, part.n * PAGE_BYTES);
		part.pages = room;
		rc = append(spool, &part);
		if (rc != R_OK)
			return rc;
		spool->blocks[spool->current].used += part.n * PAGE_BYTES;
		part.index += part.n;
		from += part.n * PAGE_BYTES;
		left -= part.n;
	}
	return R_OK;
}

int spool_add(struct spool *spool, const struct spool_record *record)
{
	return record->pages ? add_pages(spool, record) : append(spool, record);
}

const struct spool_record *spool_next(struct spool *spool)
{
	return spool->next < spool->n_records ? &spool->records[spool->next++] : NULL;
}
