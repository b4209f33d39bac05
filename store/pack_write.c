#include "store/pack_write.h"

#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PACK_BYTES_MAX ((uint64_t)4 << 30)
#define PACK_TRIES 100
/*
 * Written at once, and from a multiple of it on: the kernel keeps what is written together in one
 * piece of memory, if it lies so, and who reads many segments gets them faster out of large pieces
 * than out of small ones (figures in docs/store-figures.md).
 */
#define CHUNK_BYTES ((size_t)1 << 20)

struct own_pack {
	uint64_t pack;
	int fd;
	struct pack_record record;
};

/* `lock` guards what stands below it. */
struct pack_writer {
	struct store *store;
	pthread_mutex_t lock;
	struct own_pack *packs;
	size_t n_packs;
	uint64_t bytes;
	uint64_t spare; /* number of a pack that is not made yet; 0: none */
	/* The end of the last pack, not written yet: its bytes lie at `tail_at`. */
	uint8_t *tail; /* CHUNK_BYTES */
	uint64_t tail_at;
	size_t tail_bytes;
	bool failed; /* to write it: what comes then has no place */
};

static int reserve(struct index_txn *txn, void *arg)
{
	struct reservation *want = arg;

	if (index_meta_get(txn, "next_page", PAGE_ZERO + 1, &want->first_page) != R_OK ||
	    index_meta_get(txn, "next_pack", 1, &want->pack) != R_OK ||
	    index_meta_put(txn, "next_page", want->first_page + want->pages) != R_OK ||
	    index_meta_put(txn, "next_pack", want->pack + want->packs) != R_OK)
		return R_FAILED;
	return R_OK;
}

int store_reserve(struct store *store, struct reservation *want)
{
	/* What nothing refers to need not last: numbers that a power loss takes back were given to
	 * pages that it takes, too. */
	return index_write_soon(store->index, reserve, want) == R_OK ? R_OK : R_FAILED;
}

struct pack_writer *pack_writer_new(struct store *store)
{
	struct pack_writer *writer = calloc(1, sizeof(*writer));

	if (writer)
		writer->tail = malloc(CHUNK_BYTES);
	if (!writer || !writer->tail) {
		warn("out of memory");
		free(writer);
		return NULL;
	}
	writer->store = store;
	pthread_mutex_init(&writer->lock, NULL);
	return writer;
}

void pack_writer_first(struct pack_writer *writer, uint64_t pack)
{
	writer->spare = pack;
}

/* Called with the lock held. */
static int add_pack(struct pack_writer *writer)
{
	struct own_pack *more;
	struct own_pack new = { .record.bytes = PACK_HEADER_BYTES };
	int result = R_BUSY;

	for (int tries = 0; result == R_BUSY && tries < PACK_TRIES; tries++) {
		struct reservation want = { .packs = 1, .pack = writer->spare };

		writer->spare = 0;
		if (!want.pack && store_reserve(writer->store, &want) != R_OK)
			return R_FAILED;
		new.pack = want.pack;
		result = pack_create(writer->store, new.pack, &new.fd);
	}
	if (result == R_BUSY)
		warn("%s/packs: %d new packs were removed by others before they could be locked; "
		     "try again",
		     writer->store->dir, PACK_TRIES);
	if (result != R_OK)
		return R_FAILED;
	more = realloc(writer->packs, (writer->n_packs + 1) * sizeof(*more));
	if (!more) {
		warn("out of memory");
		pack_unlink(writer->store, new.pack, NULL);
		close(new.fd);
		return R_FAILED;
	}
	writer->packs = more;
	writer->packs[writer->n_packs++] = new;
	writer->bytes += PACK_HEADER_BYTES;
	writer->tail_at = PACK_HEADER_BYTES;
	return R_OK;
}

/* Writes what is not written yet.  Called with the lock held, as what follows. */
static int write_tail(struct pack_writer *writer)
{
	size_t len = writer->tail_bytes;
	int fd;

	if (len == 0)
		return R_OK;
	fd = writer->packs[writer->n_packs - 1].fd;
	fault_point("segment write");
	if (io_pwrite_all(fd, writer->tail, len, (off_t)writer->tail_at) != R_OK) {
		warn_errno("%s/packs: cannot write", writer->store->dir);
		writer->failed = true;
		return R_FAILED;
	}
	/* So that the disk works already; the fsync at the end then has little left to do. */
	sync_file_range(fd, (off_t)writer->tail_at, (off_t)len, SYNC_FILE_RANGE_WRITE);
	writer->tail_at += len;
	writer->tail_bytes = 0;
	return R_OK;
}

static int add_to_tail(struct pack_writer *writer, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		uint64_t end = writer->tail_at + writer->tail_bytes;
		size_t n = CHUNK_BYTES - end % CHUNK_BYTES;

		if (n > len)
			n = len;
		memcpy(writer->tail + writer->tail_bytes, bytes, n);
		writer->tail_bytes += n;
		bytes += n;
		len -= n;
		if ((end + n) % CHUNK_BYTES == 0 && write_tail(writer) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int append(struct pack_writer *writer, const uint8_t *bytes, struct segment_record *record)
{
	size_t len = (size_t)record->header_bytes + record->body_bytes;
	struct own_pack *pack;

	if (writer->failed)
		return R_FAILED;
	if (writer->n_packs == 0 ||
	    writer->packs[writer->n_packs - 1].record.bytes >= PACK_BYTES_MAX) {
		if (write_tail(writer) != R_OK || add_pack(writer) != R_OK)
			return R_FAILED;
	}
	pack = &writer->packs[writer->n_packs - 1];
	record->pack = pack->pack;
	record->offset = pack->record.bytes;
	pack->record.bytes += len;
	pack->record.segments++;
	writer->bytes += len;
	return add_to_tail(writer, bytes, len);
}

int pack_writer_append(struct pack_writer *writer, const uint8_t *bytes,
		       struct segment_record *record)
{
	int result;

	pthread_mutex_lock(&writer->lock);
	result = append(writer, bytes, record);
	pthread_mutex_unlock(&writer->lock);
	return result;
}

int pack_writer_sync(struct pack_writer *writer)
{
	int result;

	pthread_mutex_lock(&writer->lock);
	result = write_tail(writer);
	pthread_mutex_unlock(&writer->lock);
	if (result != R_OK)
		return result;
	for (size_t i = 0; i < writer->n_packs; i++) {
		fault_point("pack fsync");
		if (fsync(writer->packs[i].fd)) {
			warn_errno("%s/packs: cannot sync", writer->store->dir);
			return R_FAILED;
		}
	}
	fault_point("packs directory fsync");
	if (writer->n_packs > 0 && fsync(writer->store->packs_fd)) {
		warn_errno("%s/packs: cannot sync", writer->store->dir);
		return R_FAILED;
	}
	return R_OK;
}

/* Called with the lock held. */
static int open_for(struct pack_writer *writer, const struct segment_record *record, int *fd)
{
	for (size_t i = 0; i < writer->n_packs; i++) {
		if (writer->packs[i].pack != record->pack)
			continue;
		*fd = writer->packs[i].fd;
		return i + 1 == writer->n_packs &&
			       record->offset + record->header_bytes + record->body_bytes >
				   writer->tail_at
			   ? write_tail(writer)
			   : R_OK;
	}
	return R_NOT_FOUND;
}

int pack_writer_open(struct pack_writer *writer, const struct segment_record *record, int *fd)
{
	int result;

	pthread_mutex_lock(&writer->lock);
	result = open_for(writer, record, fd);
	pthread_mutex_unlock(&writer->lock);
	return result;
}

uint64_t pack_writer_bytes(struct pack_writer *writer)
{
	uint64_t bytes;

	pthread_mutex_lock(&writer->lock);
	bytes = writer->bytes;
	pthread_mutex_unlock(&writer->lock);
	return bytes;
}

int pack_writer_put(struct pack_writer *writer, struct index_txn *txn)
{
	for (size_t i = 0; i < writer->n_packs; i++) {
		uint8_t raw[PACK_RECORD_BYTES];

		pack_record_encode(&writer->packs[i].record, raw);
		if (index_put_u64(txn, DB_PACK, writer->packs[i].pack, raw, sizeof(raw)) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

void pack_writer_close(struct pack_writer *writer, bool committed)
{
	if (!writer)
		return;
	for (size_t i = 0; i < writer->n_packs; i++) {
		if (!committed)
			pack_unlink(writer->store, writer->packs[i].pack, NULL);
		close(writer->packs[i].fd);
	}
	free(writer->packs);
	free(writer->tail);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
