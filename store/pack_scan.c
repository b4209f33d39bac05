#include "store/pack_scan.h"

#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/cluster.h"
#include "store/varint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WINDOW_BYTES ((size_t)256 << 10)
#define MAGIC_BYTES 8
#define BLOCK_BYTES 4096

/* The last number of a header's pages, which have gaps. */
static bool last_number(const uint8_t *header, struct segment_record *record)
{
	const uint8_t *at = header + SEGMENT_HEAD_BYTES + (size_t)record->pages * HASH_BYTES;
	const uint8_t *end = header + record->header_bytes - SEGMENT_CHECKSUM_BYTES;
	uint64_t gap;

	for (uint32_t i = 1; i < record->pages; i++) {
		if (at >= end || !get_varint(&at, end, &gap) || gap > UINT64_MAX - 1 - record->last)
			return false;
		record->last += gap + 1;
	}
	return true;
}

int segment_probe(int fd, uint64_t pack, uint64_t offset, struct segment_record *record)
{
	uint8_t header[SEGMENT_HEADER_MAX];
	int result;

	result = io_pread_all(fd, header, SEGMENT_HEAD_BYTES, (off_t)offset);
	if (result != R_OK)
		return result == R_FAILED && errno != EIO ? R_FAILED : R_NOT_FOUND;
	memset(record, 0, sizeof(*record));
	record->pack = pack;
	record->offset = offset;
	record->pages = get_le16(header + 8);
	record->header_bytes = get_le32(header + 12);
	record->body_bytes = get_le32(header + 16);
	record->flags = get_le32(header + 20);
	record->first = get_le64(header + 24);
	if (memcmp(header, SEGMENT_MAGIC, MAGIC_BYTES) != 0 || record->pages == 0 ||
	    record->pages > SEGMENT_PAGES || record->header_bytes > sizeof(header) ||
	    record->header_bytes < SEGMENT_HEAD_BYTES + record->pages * HASH_BYTES + 8 ||
	    record->first > UINT64_MAX - SEGMENT_PAGES)
		return R_NOT_FOUND;
	result = io_pread_all(fd, header, record->header_bytes, (off_t)offset);
	if (result != R_OK)
		return result == R_FAILED && errno != EIO ? R_FAILED : R_NOT_FOUND;
	record->checksum = get_le64(header + record->header_bytes - SEGMENT_CHECKSUM_BYTES);
	record->last = record->first;
	if (!(record->flags & SEGMENT_SPARSE))
		record->last += record->pages - 1;
	else if (!last_number(header, record))
		return R_NOT_FOUND;
	return R_OK;
}

static int check_clusters(struct unpacker *unpacker, int fd, const struct segment *segment,
			  bool *whole)
{
	*whole = true;
	for (uint32_t i = 0; *whole && i < segment->clusters; i++) {
		struct cluster_place place = cluster_place_of(segment, i, fd);
		struct cluster *cluster;

		if (cluster_read(unpacker, &place, NULL, &cluster) != R_OK)
			return R_FAILED;
		*whole = cluster->whole;
		cluster_free(cluster);
	}
	return R_OK;
}

/* Moves `*offset` to the next place that begins like a segment, over blocks of the disk that cannot
 * be read, whose bytes are added to `*unread_bytes`.  R_OK, R_NOT_FOUND at the end, R_FAILED,
 * reported. */
static int next_magic(int fd, uint64_t pack, uint8_t *window, uint64_t *offset,
		      uint64_t *unread_bytes)
{
	for (;;) {
		off_t data = lseek(fd, (off_t)*offset, SEEK_DATA); /* over holes */
		ssize_t got = data < 0 ? -1 : pread(fd, window, WINDOW_BYTES, data);
		const uint8_t *found;

		if (data < 0 && errno == ENXIO)
			return R_NOT_FOUND;
		if (data >= 0 && got < 0 && errno == EIO) {
			*offset = (uint64_t)data - (uint64_t)data % BLOCK_BYTES + BLOCK_BYTES;
			*unread_bytes += *offset - (uint64_t)data;
			continue;
		}
		if (got < 0) {
			warn_errno("cannot read pack %016" PRIx64, pack);
			return R_FAILED;
		}
		if (got == 0)
			return R_NOT_FOUND;
		found = memmem(window, (size_t)got, SEGMENT_MAGIC, MAGIC_BYTES);
		if (found) {
			*offset = (uint64_t)data + (uint64_t)(found - window);
			return R_OK;
		}
		/* One that begins in the last bytes is looked for again, unless they are all. */
		*offset = (uint64_t)data + (uint64_t)got;
		if (got >= MAGIC_BYTES)
			*offset -= MAGIC_BYTES - 1;
	}
}

/* The segment at a place, told of; R_NOT_FOUND: there is none. */
static int scan_one(const uint8_t *secret, int fd, uint64_t pack, uint64_t offset,
		    struct unpacker *unpacker,
		    int (*fn)(const struct segment *segment, bool whole, void *arg), void *arg,
		    uint64_t *bytes)
{
	struct segment_record record;
	struct segment segment;
	bool whole;
	int result;

	result = segment_probe(fd, pack, offset, &record);
	if (result == R_OK)
		result = segment_load(secret, fd, &record, &segment);
	if (result != R_OK)
		return result == R_DAMAGED ? R_NOT_FOUND : result;
	*bytes = (uint64_t)record.header_bytes + record.body_bytes;
	result = check_clusters(unpacker, fd, &segment, &whole);
	if (result == R_OK)
		result = fn(&segment, whole, arg);
	segment_free(&segment);
	return result;
}

int pack_scan(const uint8_t *secret, int fd, uint64_t pack,
	      int (*fn)(const struct segment *segment, bool whole, void *arg), void *arg,
	      uint64_t *unread_bytes)
{
	struct unpacker *unpacker = unpacker_new();
	uint8_t *window = malloc(WINDOW_BYTES);
	uint64_t offset = PACK_HEADER_BYTES, bytes;
	int result = R_OK;

	if (!unpacker || !window) {
		warn("out of memory");
		result = R_FAILED;
	}
	*unread_bytes = 0;
	while (result == R_OK &&
	       (result = next_magic(fd, pack, window, &offset, unread_bytes)) == R_OK) {
		result = scan_one(secret, fd, pack, offset, unpacker, fn, arg, &bytes);
		if (result == R_OK)
			offset += bytes;
		else if (result == R_NOT_FOUND)
			offset++;
		if (result == R_NOT_FOUND)
			result = R_OK;
	}
	unpacker_free(unpacker);
	free(window);
	return result == R_NOT_FOUND ? R_OK : result;
}
