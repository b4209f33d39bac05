#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/page.h"
#include "store/segment_read.h"
#include "store/varint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_GRAIN_BYTES 1024u

page_no segment_number(const struct segment *segment, uint32_t place)
{
	return segment->numbers ? segment->numbers[place] : segment->record.first + place;
}

page_no segment_base(const struct segment *segment, uint32_t place)
{
	return segment->pages[place].base;
}

const uint8_t *segment_hash(const struct segment *segment, uint32_t place)
{
	return segment->header + SEGMENT_HEAD_BYTES + (size_t)place * HASH_BYTES;
}

int segment_find(const struct segment *segment, page_no number)
{
	uint32_t low = 0, high = segment->record.pages;

	/* Without gaps, as takes write them, the place is known. */
	if (!segment->numbers)
		return number >= segment->record.first && number - segment->record.first < high
			   ? (int)(number - segment->record.first)
			   : -1;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		page_no there = segment->numbers[middle];

		if (there == number)
			return (int)middle;
		if (there < number)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

void segment_cluster_size(const struct segment *segment, uint32_t place, uint32_t *bytes,
			  uint32_t *pages)
{
	const struct segment_cluster *cluster = &segment->cluster[segment->pages[place].cluster];

	*bytes = cluster->bytes;
	*pages = cluster->pages;
}

static bool parse_numbers(struct segment *segment, const uint8_t **at, const uint8_t *end)
{
	const struct segment_record *record = &segment->record;
	page_no number = record->first;

	if (!segment->numbers)
		return number + record->pages - 1 == record->last;
	segment->numbers[0] = number;
	for (uint32_t i = 1; i < record->pages; i++) {
		uint64_t gap;

		if (!get_varint(at, end, &gap) || gap > UINT64_MAX - number - 1)
			return false;
		segment->numbers[i] = number += gap + 1;
	}
	return number == record->last;
}

static bool parse_bases(struct segment *segment, const uint8_t **at, const uint8_t *end)
{
	page_no base = segment->record.first;

	for (uint32_t i = 0; i < segment->record.pages; i++) {
		uint64_t step;

		segment->pages[i].base = PAGE_ABSENT;
		if (!get_varint(at, end, &step))
			return false;
		if (step == 0)
			continue;
		base += (page_no)unzigzag(step - 1);
		/* Lower numbers only: so no chain of bases can be a ring. */
		if (base <= PAGE_ZERO || base >= segment_number(segment, i) || base > PAGE_NO_MAX)
			return false;
		segment->pages[i].base = base;
	}
	return true;
}

static bool no_bases(struct segment *segment)
{
	for (uint32_t i = 0; i < segment->record.pages; i++)
		segment->pages[i].base = PAGE_ABSENT;
	return true;
}

static bool parse_clusters(struct segment *segment, const uint8_t **at, const uint8_t *end)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < segment->clusters; i++) {
		struct segment_cluster *cluster = &segment->cluster[i];
		uint64_t codec, pages, bytes;

		if (!get_varint(at, end, &codec) || !get_varint(at, end, &pages) ||
		    !get_varint(at, end, &bytes) || codec > CODEC_LAST || pages == 0 ||
		    pages > segment->record.pages || bytes > pages * PAGE_BYTES)
			return false;
		cluster->codec = (uint8_t)codec;
		cluster->pages = (uint16_t)pages;
		cluster->bytes = (uint32_t)bytes;
		cluster->has_sum = false;
		cluster->offset = (uint32_t)offset;
		offset += bytes;
	}
	return offset == segment->record.body_bytes;
}

static bool parse_sums(struct segment *segment, const uint8_t **at, const uint8_t *end)
{
	if ((size_t)(end - *at) != (size_t)segment->clusters * CLUSTER_SUM_BYTES)
		return false;
	for (uint32_t i = 0; i < segment->clusters; i++, *at += CLUSTER_SUM_BYTES) {
		segment->cluster[i].has_sum = true;
		segment->cluster[i].sum = get_le64(*at);
	}
	return true;
}

/* Gives the pages their places: full ones in the clusters of full pages, differences in the other
 * ones, both in order. */
static bool place_pages(struct segment *segment)
{
	uint32_t cluster[2] = { 0, 0 }, at[2] = { 0, 0 };

	for (uint32_t i = 0; i < segment->record.pages; i++) {
		bool delta = segment->pages[i].base != PAGE_ABSENT;

		while (cluster[delta] < segment->clusters &&
		       (codec_is_delta(segment->cluster[cluster[delta]].codec) != delta ||
			at[delta] == segment->cluster[cluster[delta]].pages)) {
			cluster[delta]++;
			at[delta] = 0;
		}
		if (cluster[delta] == segment->clusters)
			return false;
		segment->pages[i].cluster = (uint8_t)cluster[delta];
		segment->pages[i].at = (uint8_t)at[delta]++;
	}
	return true;
}

/* Everything later code relies on without looking again. */
static bool parse(struct segment *segment)
{
	const struct segment_record *record = &segment->record;
	const uint8_t *head = segment->header;
	const uint8_t *at = head + SEGMENT_HEAD_BYTES + (size_t)record->pages * HASH_BYTES;
	const uint8_t *end = head + record->header_bytes - SEGMENT_CHECKSUM_BYTES;

	if (at > end || memcmp(head, SEGMENT_MAGIC, 8) != 0 ||
	    get_le16(head + 8) != record->pages || get_le32(head + 12) != record->header_bytes ||
	    get_le32(head + 16) != record->body_bytes || get_le32(head + 20) != record->flags ||
	    get_le64(head + 24) != record->first)
		return false;
	return parse_numbers(segment, &at, end) &&
	       (record->flags & SEGMENT_DELTAS ? parse_bases(segment, &at, end)
					       : no_bases(segment)) &&
	       parse_clusters(segment, &at, end) &&
	       (!(record->flags & SEGMENT_SUMS) || parse_sums(segment, &at, end)) && at == end &&
	       place_pages(segment);
}

/* At least so many bytes, what is in them being of no use any more. */
static bool make_room(struct segment *segment, size_t bytes)
{
	if (bytes <= segment->room_bytes)
		return true;
	/* Most segments are about as long: so the next one will do with this. */
	bytes = (bytes + ROOM_GRAIN_BYTES - 1) / ROOM_GRAIN_BYTES * ROOM_GRAIN_BYTES;
	free(segment->header);
	segment->header = malloc(bytes);
	segment->room_bytes = segment->header ? bytes : 0;
	return segment->header != NULL;
}

/* The header and, behind it, what is read out of it; R_DAMAGED if the bytes cannot be had. */
static int read_header(int fd, struct segment *segment)
{
	const struct segment_record *record = &segment->record;
	size_t head = ((size_t)record->header_bytes + 15) & ~(size_t)15;
	size_t pages = record->pages * sizeof(*segment->pages);
	bool gaps = record->flags & SEGMENT_SPARSE;
	size_t numbers = gaps ? record->pages * sizeof(*segment->numbers) : 0;
	int result;

	if (!make_room(segment,
		       head + pages + numbers + record->pages * sizeof(*segment->cluster))) {
		warn("out of memory");
		return R_FAILED;
	}
	segment->pages = (struct segment_place *)(segment->header + head);
	segment->numbers = gaps ? (page_no *)(segment->header + head + pages) : NULL;
	segment->cluster = (struct segment_cluster *)(segment->header + head + pages + numbers);
	result = io_pread_all(fd, segment->header, record->header_bytes, (off_t)record->offset);
	if (result != R_FAILED || errno == EIO)
		return result == R_OK ? R_OK : R_DAMAGED;
	warn_errno("cannot read pack %016lx", (unsigned long)record->pack);
	return R_FAILED;
}

int segment_reload(const uint8_t *secret, int fd, const struct segment_record *record,
		   struct segment *segment)
{
	uint32_t body = record->header_bytes - SEGMENT_CHECKSUM_BYTES;
	uint64_t checksum;
	int result = R_DAMAGED;

	if (record->pages == 0 || record->pages > SEGMENT_PAGES ||
	    record->header_bytes < SEGMENT_HEAD_BYTES + SEGMENT_CHECKSUM_BYTES ||
	    record->header_bytes > SEGMENT_HEADER_MAX || record->body_bytes > SEGMENT_BYTES)
		goto out;
	segment->record = *record;
	result = read_header(fd, segment);
	if (result != R_OK)
		goto out;
	checksum = segment_checksum(secret, segment->header, body);
	segment->clusters = get_le16(segment->header + 10);
	if (checksum != record->checksum || checksum != get_le64(segment->header + body) ||
	    segment->clusters > record->pages || !parse(segment))
		result = R_DAMAGED;
out:
	if (result != R_OK)
		memset(&segment->record, 0, sizeof(segment->record));
	return result;
}

int segment_load(const uint8_t *secret, int fd, const struct segment_record *record,
		 struct segment *segment)
{
	int result;

	memset(segment, 0, sizeof(*segment));
	result = segment_reload(secret, fd, record, segment);
	if (result != R_OK)
		segment_free(segment);
	return result;
}

void segment_free(struct segment *segment)
{
	free(segment->header);
	memset(segment, 0, sizeof(*segment));
}
