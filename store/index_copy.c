#include "store/index_copy.h"

#include "base/endian.h"
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <xxhash.h>

#define COPY_FILE "index-copy"
#define COPY_MAGIC "SNAPCOPY"
#define COPY_BYTES_MAX ((size_t)1 << 30)
#define AT_COUNT 12
#define AT_PAGE 16
#define AT_PACK 24
#define AT_GENERATION 32
#define AT_UUID 40
#define AT_SECRET 56
#define AT_PREDUMP (AT_SECRET + SECRET_BYTES) /* from FORMAT_PREDUMPS on */
#define ENTRY_BYTES (8 + GENERATION_RECORD_BYTES)
#define CHECKSUM_BYTES 8

static size_t head_bytes(unsigned int version)
{
	return version < FORMAT_PREDUMPS ? AT_PREDUMP : AT_PREDUMP + 8;
}

/* The lock of a file is that of a process; this one is among its threads. */
static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER;

static int put_generations(struct index_txn *txn, uint8_t *to, size_t n)
{
	struct generation_record record;
	uint64_t next = 0;

	for (size_t i = 0; i < n; i++, to += ENTRY_BYTES) {
		int result = generation_ceiling(txn, next, &record);

		if (result != R_OK)
			return R_FAILED;
		put_le64(to, record.gen.number);
		generation_record_encode(&record, to + 8);
		next = record.gen.number + 1;
	}
	return R_OK;
}

/* The bytes of the copy as the transaction sees the index. */
static int encode(struct store *store, struct index_txn *txn, uint8_t **bytes, size_t *len)
{
	uint64_t n, page, pack, generation, predump;
	size_t head = head_bytes(store->version);
	uint8_t *raw;

	if (index_count(txn, DB_GENERATION, &n) != R_OK ||
	    index_meta_get(txn, "next_page", PAGE_ZERO + 1, &page) != R_OK ||
	    index_meta_get(txn, "next_pack", 1, &pack) != R_OK ||
	    generation_next_numbers(txn, &generation, &predump) != R_OK)
		return R_FAILED;
	*len = head + n * ENTRY_BYTES + CHECKSUM_BYTES;
	*bytes = raw = calloc(1, *len);
	if (!raw) {
		warn("out of memory");
		return R_FAILED;
	}
	memcpy(raw, COPY_MAGIC, 8);
	put_le32(raw + 8, store->version);
	put_le32(raw + AT_COUNT, (uint32_t)n);
	put_le64(raw + AT_PAGE, page);
	put_le64(raw + AT_PACK, pack);
	put_le64(raw + AT_GENERATION, generation);
	memcpy(raw + AT_UUID, store->uuid, UUID_BYTES);
	memcpy(raw + AT_SECRET, store->secret, SECRET_BYTES);
	if (store->version >= FORMAT_PREDUMPS)
		put_le64(raw + AT_PREDUMP, predump);
	if (put_generations(txn, raw + head, n) != R_OK) {
		free(raw);
		return R_FAILED;
	}
	put_le64(raw + *len - CHECKSUM_BYTES, XXH3_64bits(raw, *len - CHECKSUM_BYTES));
	return R_OK;
}

static bool is_there(const struct store *store, const uint8_t *bytes, size_t len)
{
	char *there;
	size_t there_len;
	bool same;

	if (io_read_file(store->dirfd, COPY_FILE, COPY_BYTES_MAX, &there, &there_len) != R_OK)
		return false;
	same = there_len == len && memcmp(there, bytes, len) == 0;
	free(there);
	return same;
}

static int renew(struct store *store)
{
	struct index_txn *txn;
	uint8_t *bytes;
	size_t len;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	result = encode(store, txn, &bytes, &len);
	index_read_end(txn);
	if (result != R_OK)
		return result;
	if (!is_there(store, bytes, len) &&
	    io_replace_file_soon(store->dirfd, COPY_FILE, bytes, len, 0600) != R_OK) {
		warn_errno("%s/" COPY_FILE ": cannot renew the copy of the index", store->dir);
		result = R_FAILED;
	}
	free(bytes);
	return result;
}

void index_copy_renew(struct store *store)
{
	int fd;

	/* Whoever comes last must also have looked last: a lock of its own, as this runs beside the
	 * one a creation holds. */
	pthread_mutex_lock(&renewing);
	fd = openat(store->packs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX))
		warn_errno("%s/" COPY_FILE ": cannot lock the copy of the index", store->dir);
	else if (renew(store) != R_OK)
		note("%s: done, but the copy of the index is that of before: the next take renews "
		     "it",
		     store->dir);
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&renewing);
}

static bool decode(const uint8_t *raw, size_t len, struct index_copy *copy)
{
	size_t n, head;

	if (len < AT_PREDUMP + CHECKSUM_BYTES || memcmp(raw, COPY_MAGIC, 8) != 0 ||
	    get_le32(raw + 8) < FORMAT_OLDEST || get_le32(raw + 8) > FORMAT_VERSION ||
	    get_le64(raw + len - CHECKSUM_BYTES) != XXH3_64bits(raw, len - CHECKSUM_BYTES))
		return false;
	n = get_le32(raw + AT_COUNT);
	head = head_bytes(get_le32(raw + 8));
	if (len != head + n * ENTRY_BYTES + CHECKSUM_BYTES)
		return false;
	copy->next_page = get_le64(raw + AT_PAGE);
	copy->next_pack = get_le64(raw + AT_PACK);
	copy->next_generation = get_le64(raw + AT_GENERATION);
	copy->next_predump = head > AT_PREDUMP ? get_le64(raw + AT_PREDUMP) : 0;
	memcpy(copy->uuid, raw + AT_UUID, UUID_BYTES);
	memcpy(copy->secret, raw + AT_SECRET, SECRET_BYTES);
	copy->generations = calloc(n + 1, sizeof(*copy->generations));
	if (!copy->generations) {
		warn("out of memory");
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *entry = raw + head + i * ENTRY_BYTES;

		generation_record_decode(get_le64(entry), entry + 8, &copy->generations[i]);
	}
	copy->n_generations = n;
	return true;
}

int index_copy_read(int dirfd, const char *dir, struct index_copy *copy)
{
	char *raw;
	size_t len;
	bool good;

	memset(copy, 0, sizeof(*copy));
	if (io_read_file(dirfd, COPY_FILE, COPY_BYTES_MAX, &raw, &len) != R_OK) {
		if (errno == ENOENT)
			return R_NOT_FOUND;
		warn_errno("%s/" COPY_FILE ": cannot read", dir);
		return R_FAILED;
	}
	good = decode((const uint8_t *)raw, len, copy);
	free(raw);
	if (good)
		return R_OK;
	warn("%s/" COPY_FILE ": not what was written: the next take makes it anew of the index",
	     dir);
	return R_DAMAGED;
}

void index_copy_free(struct index_copy *copy)
{
	free(copy->generations);
	memset(copy, 0, sizeof(*copy));
}
