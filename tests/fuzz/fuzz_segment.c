/* A segment as it lies in a pack: header, clusters of pages and of differences. */
#include "fuzz.h"

#include "base/endian.h"
#include "base/result.h"
#include "store/cluster.h"
#include "store/delta.h"
#include "store/pack_scan.h"
#include "store/page.h"
#include "store/segment_encode.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint8_t secret[SECRET_BYTES];

static void use_cluster(const struct segment *segment, const struct cluster *cluster,
			uint32_t index)
{
	uint8_t page[PAGE_BYTES] = { 0 }, bitmap[DELTA_BITMAP_BYTES];

	for (uint32_t i = 0; i < segment->record.pages; i++) {
		if (segment->pages[i].cluster != index)
			continue;
		if (cluster->delta) {
			cluster_apply(cluster, segment->pages[i].at, page);
			cluster_differs(cluster, segment->pages[i].at, bitmap);
		} else {
			memcpy(page, cluster_page(cluster, segment->pages[i].at), PAGE_BYTES);
		}
	}
}

static void use_segment(const struct segment *segment, int fd)
{
	struct unpacker *unpacker = unpacker_new();

	for (uint32_t i = 0; unpacker && i < segment->record.pages; i++)
		if (segment_find(segment, segment_number(segment, i)) != (int)i)
			abort();
	for (uint32_t i = 0; unpacker && i < segment->clusters; i++) {
		struct cluster_place place = cluster_place_of(segment, i, fd);
		struct cluster *cluster;

		if (cluster_read(unpacker, &place, NULL, &cluster) != R_OK)
			continue;
		if (cluster->whole)
			use_cluster(segment, cluster, i);
		cluster_free(cluster);
	}
	unpacker_free(unpacker);
}

/* The checksum is made right, or nothing behind it would ever be reached. */
static void fix_checksum(uint8_t *bytes, size_t len)
{
	uint32_t header = len < SEGMENT_HEAD_BYTES ? 0 : get_le32(bytes + 12);

	if (header >= SEGMENT_CHECKSUM_BYTES && header <= len)
		put_le64(bytes + header - SEGMENT_CHECKSUM_BYTES,
			 segment_checksum(secret, bytes, header - SEGMENT_CHECKSUM_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct segment_record record;
	struct segment segment;
	uint8_t *bytes = malloc(len + 1);
	int fd = memfd_create("segment", MFD_CLOEXEC);

	if (!bytes || fd < 0)
		abort();
	memcpy(bytes, data, len);
	fix_checksum(bytes, len);
	if (pwrite(fd, bytes, len, PACK_HEADER_BYTES) != (ssize_t)len)
		abort();
	if (segment_probe(fd, 1, PACK_HEADER_BYTES, &record) == R_OK &&
	    segment_load(secret, fd, &record, &segment) == R_OK) {
		use_segment(&segment, fd);
		segment_free(&segment);
	}
	close(fd);
	free(bytes);
	return 0;
}

#define SEEDS 9

/* Full pages, differences, gaps, what does not compress, and what does as planes; the last
 * two as formats 2 and 5 have them. */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	static uint8_t bytes[40][PAGE_BYTES], bases[40][PAGE_BYTES], hashes[40][HASH_BYTES];
	struct segment_page pages[40];
	struct segment_record record;
	struct segment_coding coding;
	struct segment_encoder *encoder;
	const uint8_t *made;
	uint32_t n = i % 3 == 0 && i < 6 ? 1 : 40;
	size_t len;

	if (i >= SEEDS)
		return 0;
	for (uint32_t k = 0; k < n; k++) {
		bool delta = (i % 2 || i == 8) && k % 2;

		for (size_t at = 0; at < PAGE_BYTES; at++)
			bases[k][at] = (uint8_t)(i == 4 ? at * 2654435761u >> 7 : k + at / 64);
		for (size_t at = 0; i == 6 && at < PAGE_BYTES; at++)
			bases[k][at] =
			    at % 8 == 7
				? 0x3f
				: (uint8_t)((at + k * PAGE_BYTES) * (at + k) * 2654435761u >> 13);
		memcpy(bytes[k], bases[k], PAGE_BYTES);
		memset(bytes[k] + 100 * k % 4000, 'x', 20);
		page_hash(secret, bytes[k], hashes[k]);
		pages[k] = (struct segment_page){
			.number = 1000 + k * (i > 2 ? 3 : 1),
			.base = delta ? 500 + k : PAGE_ABSENT,
			.hash = hashes[k],
			.bytes = bytes[k],
			.base_bytes = delta ? bases[k] : NULL,
		};
	}
	coding = segment_coding_of(i == 7   ? 2
				   : i == 8 ? 5
					    : FORMAT_VERSION,
				   i == 3 || i == 4 || i == 5);
	encoder = segment_encoder_new(secret, &coding);
	made = encoder ? segment_encode(encoder, pages, n, &record) : NULL;
	len = made ? (size_t)record.header_bytes + record.body_bytes : 0;
	if (!made || len > room)
		abort();
	memcpy(data, made, len);
	segment_encoder_free(encoder);
	return len;
}
