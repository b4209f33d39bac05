#include "store/pack_write.h"

#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define PACK_BYTES_MAX ((uint64_t)4 << 30)
#define PACK_TRIES 100

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

	if (!writer) {
		warn("out of memory");
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
	return R_OK;
}

/* Finds room for a segment: pack, offset, and the descriptor to write it to. */
static int allot(struct pack_writer *writer, struct segment_record *record, int *fd)
{
	uint64_t len = (uint64_t)record->header_bytes + record->body_bytes;
	struct own_pack *pack;
	int result = R_OK;

	pthread_mutex_lock(&writer->lock);
	if (writer->n_packs == 0 ||
	    writer->packs[writer->n_packs - 1].record.bytes >= PACK_BYTES_MAX)
		result = add_pack(writer);
	if (result == R_OK) {
		pack = &writer->packs[writer->n_packs - 1];
		record->pack = pack->pack;
		record->offset = pack->record.bytes;
		pack->record.bytes += len;
		pack->record.segments++;
		writer->bytes += len;
		*fd = pack->fd;
	}
	pthread_mutex_unlock(&writer->lock);
	return result;
}

int pack_writer_append(struct pack_writer *writer, const uint8_t *bytes,
		       struct segment_record *record)
{
	size_t len = (size_t)record->header_bytes + record->body_bytes;
	int fd;

	if (allot(writer, record, &fd) != R_OK)
		return R_FAILED;
	fault_point("segment write");
	if (io_pwrite_all(fd, bytes, len, (off_t)record->offset) != R_OK) {
		warn_errno("%s/packs: cannot write", writer->store->dir);
		return R_FAILED;
	}
	/* So that the disk works already; the fsync at the end then has little left to do. */
	sync_file_range(fd, (off_t)record->offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
	return R_OK;
}

int pack_writer_sync(struct pack_writer *writer)
{
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

bool pack_writer_get(struct pack_writer *writer, size_t i, uint64_t *pack,
		     struct pack_record *record, int *fd)
{
	bool there;

	pthread_mutex_lock(&writer->lock);
	there = i < writer->n_packs;
	if (there) {
		*pack = writer->packs[i].pack;
		*record = writer->packs[i].record;
		*fd = writer->packs[i].fd;
	}
	pthread_mutex_unlock(&writer->lock);
	return there;
}

int pack_writer_fd(struct pack_writer *writer, uint64_t pack)
{
	struct pack_record record;
	uint64_t number;
	int fd;

	for (size_t i = 0; pack_writer_get(writer, i, &number, &record, &fd); i++)
		if (number == pack)
			return fd;
	return -1;
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
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
