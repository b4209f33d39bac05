/*
 * The small files and records of a store: the copy of the index, the mark, the records of the
 * index, a block of hashes, and a pack that is searched for segments.  The first byte says which.
 */
#include "fuzz.h"

#include "base/endian.h"
#include "base/result.h"
#include "store/hash_block.h"
#include "store/index_copy.h"
#include "store/pack_scan.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { FUZZ_COPY, FUZZ_MARK, FUZZ_RECORDS, FUZZ_BLOCK, FUZZ_PACK, FUZZ_KINDS };

static char dir[64];
static int dirfd = -1;

static void remove_dir(void)
{
	unlinkat(dirfd, "index-copy", 0);
	unlinkat(dirfd, "snap-store", 0);
	rmdir(dir);
}

static void make_dir(void)
{
	if (dirfd >= 0)
		return;
	strcpy(dir, "/tmp/snap-fuzz.XXXXXX");
	if (!mkdtemp(dir) || (dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	atexit(remove_dir);
}

static void put_file(const char *name, const uint8_t *data, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

static void try_copy(const uint8_t *data, size_t len)
{
	struct index_copy copy;
	uint8_t *bytes = malloc(len + 1);

	if (!bytes)
		abort();
	memcpy(bytes, data, len);
	if (len >= 8)
		put_le64(bytes + len - 8, XXH3_64bits(bytes, len - 8));
	put_file("index-copy", bytes, len);
	if (index_copy_read(dirfd, dir, &copy) == R_OK)
		for (size_t i = 0; i < copy.n_generations; i++)
			if (memchr(copy.generations[i].gen.lineage, 0, LINEAGE_NAME_MAX) == NULL)
				abort();
	index_copy_free(&copy);
	free(bytes);
}

static void try_mark(const uint8_t *data, size_t len)
{
	struct store *store;

	put_file("snap-store", data, len);
	if (store_open(dir, false, false, &store) == R_OK)
		abort(); /* there is no index */
	unlinkat(dirfd, "snap-store", 0);
}

/* Records are of fixed length; what is decoded and encoded again reads the same. */
static void try_records(const uint8_t *data, size_t len)
{
	uint8_t raw[GENERATION_RECORD_BYTES] = { 0 }, again[GENERATION_RECORD_BYTES];
	struct generation_record generation, twice;
	struct condemned_record condemned;
	struct segment_record segment;
	struct hole_record hole;
	struct pack_record pack;

	memcpy(raw, data, len < sizeof(raw) ? len : sizeof(raw));
	generation_record_decode(7, raw, &generation);
	generation_record_encode(&generation, again);
	if (!generation_record_whole(7, again))
		abort();
	generation_record_decode(7, again, &twice);
	if (memcmp(&generation, &twice, sizeof(twice)) != 0)
		abort();
	segment_record_decode(7, raw, &segment);
	pack_record_decode(raw, &pack);
	condemned_record_decode(raw, &condemned);
	hole_record_decode(raw, &hole);
	hole_record_encode(&hole, again);
	if (memcmp(raw, again, HOLE_RECORD_BYTES) != 0)
		abort();
}

static void try_block(const uint8_t *data, size_t len)
{
	static struct block block;

	if (len < HASH_KEY_BYTES)
		return;
	if (block_copy(data, data + HASH_KEY_BYTES, len - HASH_KEY_BYTES, &block) == R_OK &&
	    block.n > BLOCK_ENTRIES)
		abort();
}

static int count_segment(const struct segment *segment, bool whole, void *arg)
{
	(void)segment;
	*(size_t *)arg += whole;
	return R_OK;
}

static void try_pack(const uint8_t *data, size_t len)
{
	static const uint8_t secret[SECRET_BYTES];
	uint64_t unread_bytes;
	size_t n = 0;
	int fd;

	put_file("index-copy", data, len);
	fd = openat(dirfd, "index-copy", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pack_scan(secret, fd, 1, count_segment, &n, &unread_bytes) == R_FAILED)
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const kinds[FUZZ_KINDS])(const uint8_t *data, size_t len) = {
		[FUZZ_COPY] = try_copy,	  [FUZZ_MARK] = try_mark, [FUZZ_RECORDS] = try_records,
		[FUZZ_BLOCK] = try_block, [FUZZ_PACK] = try_pack,
	};

	make_dir();
	if (len > 0)
		kinds[data[0] % FUZZ_KINDS](data + 1, len - 1);
	return 0;
}

size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	struct generation_record record = { .gen = { .number = 7, .lineage = "seed" } };
	size_t len;

	if (i >= FUZZ_KINDS || room < 8192)
		return 0;
	memset(data, 0, 8192);
	data[0] = (uint8_t)i;
	switch (i) {
	case FUZZ_COPY:
		memcpy(data + 1, "SNAPCOPY", 8);
		put_le32(data + 9, FORMAT_VERSION);
		put_le32(data + 13, 2);
		len = 1 + 56 + SECRET_BYTES + 8;
		for (int k = 0; k < 2; k++, len += 8 + GENERATION_RECORD_BYTES) {
			put_le64(data + len, 7);
			generation_record_encode(&record, data + len + 8);
		}
		return len + 8;
	case FUZZ_MARK:
		return 1 + (size_t)snprintf((char *)data + 1, 100, "snap-store %d\nuuid %032d\n",
					    FORMAT_VERSION, 5);
	case FUZZ_RECORDS:
		generation_record_encode(&record, data + 1);
		return 1 + GENERATION_RECORD_BYTES;
	case FUZZ_BLOCK:
		return 1 + HASH_KEY_BYTES + (size_t)10 * BLOCK_ENTRY_BYTES;
	default:
		memcpy(data + 1, PACK_MAGIC, 8);
		memcpy(data + 1 + PACK_HEADER_BYTES, SEGMENT_MAGIC, 8);
		put_le16(data + 1 + PACK_HEADER_BYTES + 8, 1);
		put_le16(data + 1 + PACK_HEADER_BYTES + 10, 1);
		put_le32(data + 1 + PACK_HEADER_BYTES + 12, 60);
		return 600;
	}
}
