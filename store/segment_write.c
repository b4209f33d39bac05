#include "store/segment_write.h"

#include "base/endian.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"
#include "store/page.h"
#include "store/segment_read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define ZSTD_LEVEL 1
#define THREADS_MAX 4
#define SLOTS 24 /* MiB of pages between the caller and the disk */
#define PACK_BYTES_MAX ((uint64_t)4 << 30)
#define PACK_TRIES 100
/* Reserved at once: enough for a small tree before it is frozen, then more and more. */
#define RESERVE_FIRST 4096
#define RESERVE_MAX 65536

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_QUEUED, SLOT_BUSY, SLOT_DONE };

/* One segment in memory. */
struct slot {
	enum slot_state state;
	size_t sequence; /* of its record; meaningful unless free */
	page_no first;
	uint32_t pages;
	uint8_t (*hashes)[HASH_BYTES];
	uint8_t *data;
};

struct own_pack {
	uint64_t pack;
	int fd;
	struct pack_record record;
};

/*
 * The caller's thread fills slots in turn and hands them over; a slot keeps its pages after they
 * were written, until its turn comes again, for segment_writer_page().  `lock` guards what stands
 * below it; slot contents belong to the thread that the state says.
 */
struct segment_writer {
	struct store *store;
	page_no next, end; /* numbers reserved and not given */
	uint64_t reserve;
	struct slot *current;
	size_t turn;

	/* One own page read back. */
	struct segment loaded;
	uint32_t loaded_cluster, loaded_whole;
	uint8_t *loaded_pages;

	pthread_t threads[THREADS_MAX];
	size_t n_threads;

	pthread_mutex_t lock;
	pthread_cond_t queued, done;
	struct slot slots[SLOTS];
	size_t take_turn; /* slot a thread takes next */
	bool ending, failed;
	struct segment_record *records; /* by sequence; offset 0: not written yet */
	size_t n_records, room_records;
	struct own_pack *packs;
	size_t n_packs;
	uint64_t bytes;
};

/* What one thread needs to make segments of slots. */
struct press {
	ZSTD_CCtx *zstd;
	uint8_t *out; /* header and body */
};

struct reservation {
	uint64_t pages, packs;	   /* wanted */
	uint64_t first_page, pack; /* given */
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

static int reserve_pages(struct segment_writer *writer)
{
	struct reservation want = { .pages = writer->reserve };

	if (index_write(writer->store->index, reserve, &want) != R_OK)
		return R_FAILED;
	writer->next = want.first_page;
	writer->end = want.first_page + want.pages;
	if (writer->reserve < RESERVE_MAX)
		writer->reserve *= 2;
	return R_OK;
}

static int press_open(struct press *press)
{
	press->zstd = ZSTD_createCCtx();
	press->out = malloc(SEGMENT_HEADER_MAX + SEGMENT_PAGES * PAGE_BYTES);
	if (press->zstd && press->out)
		return R_OK;
	ZSTD_freeCCtx(press->zstd);
	free(press->out);
	warn("out of memory");
	return R_FAILED;
}

static void press_close(struct press *press)
{
	ZSTD_freeCCtx(press->zstd);
	free(press->out);
}

/* Packs one cluster at `to`, at most `len` bytes; returns its stored size. */
static size_t press_cluster(struct press *press, const uint8_t *from, size_t len, uint8_t *to,
			    uint8_t *codec)
{
	size_t got = ZSTD_compressCCtx(press->zstd, to, len - 1, from, len, ZSTD_LEVEL);

	if (!ZSTD_isError(got)) {
		*codec = CODEC_ZSTD;
		return got;
	}
	*codec = CODEC_RAW; /* it did not get smaller */
	memcpy(to, from, len);
	return len;
}

/* Makes the bytes of a segment in press->out and the sizes in its record. */
static void press_segment(struct press *press, const uint8_t *secret, const struct slot *slot,
			  struct segment_record *record)
{
	uint32_t clusters = (slot->pages + CLUSTER_PAGES - 1) / CLUSTER_PAGES;
	uint8_t *entry = press->out + SEGMENT_HEAD_BYTES;
	uint32_t header = SEGMENT_HEAD_BYTES + slot->pages * SEGMENT_PAGE_BYTES +
			  clusters * SEGMENT_CLUSTER_BYTES + 8;
	uint32_t body = 0;

	for (uint32_t i = 0; i < slot->pages; i++, entry += SEGMENT_PAGE_BYTES) {
		put_le64(entry, slot->first + i);
		memcpy(entry + 8, slot->hashes[i], HASH_BYTES);
	}
	for (uint32_t i = 0; i < clusters; i++, entry += SEGMENT_CLUSTER_BYTES) {
		uint32_t pages = slot->pages - i * CLUSTER_PAGES;
		uint8_t codec;
		size_t len;

		if (pages > CLUSTER_PAGES)
			pages = CLUSTER_PAGES;
		len = press_cluster(press, slot->data + (size_t)i * CLUSTER_BYTES,
				    (size_t)pages * PAGE_BYTES, press->out + header + body, &codec);
		put_le32(entry, body);
		put_le32(entry + 4, (uint32_t)len);
		entry[8] = codec;
		entry[9] = (uint8_t)pages;
		put_le16(entry + 10, 0);
		body += (uint32_t)len;
	}
	memcpy(press->out, SEGMENT_MAGIC, 8);
	put_le16(press->out + 8, (uint16_t)slot->pages);
	put_le16(press->out + 10, (uint16_t)clusters);
	put_le32(press->out + 12, header);
	put_le32(press->out + 16, body);
	put_le32(press->out + 20, 0);
	record->header_bytes = header;
	record->body_bytes = body;
	record->checksum = header_checksum(secret, press->out, header - 8);
	put_le64(press->out + header - 8, record->checksum);
}

/* Adds a pack to the writer; called with the lock held. */
static int add_pack(struct segment_writer *writer)
{
	struct own_pack *more;
	struct own_pack new = { .record.bytes = PACK_HEADER_BYTES };
	int result = R_BUSY;

	for (int tries = 0; result == R_BUSY && tries < PACK_TRIES; tries++) {
		struct reservation want = { .packs = 1 };

		if (index_write(writer->store->index, reserve, &want) != R_OK)
			return R_FAILED;
		new.pack = want.pack;
		result = pack_create(writer->store, new.pack, &new.fd);
	}
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
static int allot(struct segment_writer *writer, struct segment_record *record, int *fd)
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

static int write_slot(struct segment_writer *writer, struct press *press, const struct slot *slot)
{
	struct segment_record record = {
		.first = slot->first,
		.last = slot->first + slot->pages - 1,
		.pages = slot->pages,
	};
	size_t len;
	int fd;

	press_segment(press, writer->store->secret, slot, &record);
	if (allot(writer, &record, &fd) != R_OK)
		return R_FAILED;
	len = (size_t)record.header_bytes + record.body_bytes;
	fault_point("segment write");
	if (io_pwrite_all(fd, press->out, len, (off_t)record.offset) != R_OK) {
		warn_errno("%s/packs: cannot write", writer->store->dir);
		return R_FAILED;
	}
	/* So that the disk works already; the fsync at the end then has little left to do. */
	sync_file_range(fd, (off_t)record.offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
	pthread_mutex_lock(&writer->lock);
	writer->records[slot->sequence] = record;
	pthread_mutex_unlock(&writer->lock);
	return R_OK;
}

static void *write_slots(void *arg)
{
	struct segment_writer *writer = arg;
	struct press press;
	bool ready = press_open(&press) == R_OK;

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		struct slot *slot = &writer->slots[writer->take_turn];
		bool bad;

		if (slot->state != SLOT_QUEUED) {
			if (writer->ending)
				break;
			pthread_cond_wait(&writer->queued, &writer->lock);
			continue;
		}
		writer->take_turn = (writer->take_turn + 1) % SLOTS;
		slot->state = SLOT_BUSY;
		bad = writer->failed || !ready;
		pthread_mutex_unlock(&writer->lock);
		if (!bad)
			bad = write_slot(writer, &press, slot) != R_OK;
		pthread_mutex_lock(&writer->lock);
		slot->state = SLOT_DONE;
		if (bad)
			writer->failed = true;
		pthread_cond_broadcast(&writer->done);
	}
	pthread_mutex_unlock(&writer->lock);
	if (ready)
		press_close(&press);
	return NULL;
}

/* Threads take no signals: these belong to the command. */
static int start_threads(struct segment_writer *writer)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!rc && writer->n_threads < THREADS_MAX &&
	       (writer->n_threads == 0 || (long)writer->n_threads < cpus)) {
		rc = pthread_create(&writer->threads[writer->n_threads], NULL, write_slots, writer);
		if (!rc)
			writer->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (writer->n_threads > 0)
		return R_OK;
	errno = rc;
	warn_errno("cannot start a thread");
	return R_FAILED;
}

int segment_writer_open(struct store *store, struct segment_writer **writer)
{
	struct segment_writer *new = calloc(1, sizeof(*new));

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	new->store = store;
	new->reserve = RESERVE_FIRST;
	if (reserve_pages(new) != R_OK) {
		free(new);
		return R_FAILED;
	}
	pthread_mutex_init(&new->lock, NULL);
	pthread_cond_init(&new->queued, NULL);
	pthread_cond_init(&new->done, NULL);
	*writer = new;
	return R_OK;
}

/* Notes a segment that begins with the slot's first page. */
static int add_record(struct segment_writer *writer, struct slot *slot)
{
	int result = R_OK;

	pthread_mutex_lock(&writer->lock);
	if (writer->n_records == writer->room_records) {
		size_t room = writer->room_records ? writer->room_records * 2 : 64;
		struct segment_record *more = realloc(writer->records, room * sizeof(*more));

		if (more) {
			writer->records = more;
			writer->room_records = room;
		} else {
			warn("out of memory");
			result = R_FAILED;
		}
	}
	if (result == R_OK) {
		slot->state = SLOT_FILLING;
		slot->sequence = writer->n_records++;
		writer->records[slot->sequence] = (struct segment_record){ .first = slot->first };
	}
	pthread_mutex_unlock(&writer->lock);
	return result;
}

static void queue_current(struct segment_writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->current->state = SLOT_QUEUED;
	pthread_cond_signal(&writer->queued);
	pthread_mutex_unlock(&writer->lock);
	writer->current = NULL;
}

/* Waits until the slot whose turn it is has been written, and begins a segment in it. */
static int begin_slot(struct segment_writer *writer)
{
	struct slot *slot = &writer->slots[writer->turn];
	bool failed;

	pthread_mutex_lock(&writer->lock);
	while (slot->state == SLOT_QUEUED || slot->state == SLOT_BUSY)
		pthread_cond_wait(&writer->done, &writer->lock);
	failed = writer->failed;
	pthread_mutex_unlock(&writer->lock);
	if (failed)
		return R_FAILED;
	if (!slot->data) {
		slot->data = malloc(SEGMENT_PAGES * PAGE_BYTES);
		slot->hashes = malloc(SEGMENT_PAGES * HASH_BYTES);
		if (!slot->data || !slot->hashes) {
			warn("out of memory");
			return R_FAILED;
		}
	}
	slot->first = writer->next;
	slot->pages = 0;
	if (add_record(writer, slot) != R_OK)
		return R_FAILED;
	writer->turn = (writer->turn + 1) % SLOTS;
	writer->current = slot;
	return R_OK;
}

int segment_writer_add(struct segment_writer *writer, const uint8_t *hash, const void *page,
		       page_no *number)
{
	struct slot *slot = writer->current;

	/* A segment's numbers have no gap, so it ends where a reserved range does. */
	if (slot && (slot->pages == SEGMENT_PAGES || writer->next == writer->end)) {
		if (writer->n_threads == 0 && start_threads(writer) != R_OK)
			return R_FAILED;
		queue_current(writer);
	}
	if (writer->next == writer->end && reserve_pages(writer) != R_OK)
		return R_FAILED;
	if (!writer->current && begin_slot(writer) != R_OK)
		return R_FAILED;
	slot = writer->current;
	memcpy(slot->data + (size_t)slot->pages * PAGE_BYTES, page, PAGE_BYTES);
	memcpy(slot->hashes[slot->pages], hash, HASH_BYTES);
	slot->pages++;
	*number = writer->next++;
	return R_OK;
}

/* The sequence of the segment that would hold the number; -1: none of ours. */
static long find_sequence(struct segment_writer *writer, page_no number)
{
	size_t low = 0, high = writer->n_records;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (writer->records[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return (long)low - 1;
}

/* Reads a page back from the pack; its slot has been used again, so it is written. */
static int read_back(struct segment_writer *writer, const struct segment_record *record,
		     page_no number, const uint8_t **page)
{
	uint32_t place = (uint32_t)(number - record->first), cluster = place / CLUSTER_PAGES;
	const uint8_t *secret = writer->store->secret;
	int fd = -1, result;

	if (writer->loaded.record.first == record->first && writer->loaded.header &&
	    writer->loaded_cluster == cluster)
		goto found;
	pthread_mutex_lock(&writer->lock);
	for (size_t i = 0; i < writer->n_packs; i++)
		if (writer->packs[i].pack == record->pack)
			fd = writer->packs[i].fd;
	pthread_mutex_unlock(&writer->lock);
	if (!writer->loaded_pages && !(writer->loaded_pages = malloc(CLUSTER_BYTES))) {
		warn("out of memory");
		return R_FAILED;
	}
	segment_free(&writer->loaded);
	result = segment_load(secret, fd, record, &writer->loaded);
	if (result != R_OK)
		return result;
	result = segment_read_cluster(secret, fd, &writer->loaded, cluster, writer->loaded_pages,
				      &writer->loaded_whole);
	if (result != R_OK) {
		segment_free(&writer->loaded);
		return result;
	}
	writer->loaded_cluster = cluster;
found:
	if (!(writer->loaded_whole & 1u << place % CLUSTER_PAGES))
		return R_DAMAGED;
	*page = writer->loaded_pages + (size_t)(place % CLUSTER_PAGES) * PAGE_BYTES;
	return R_OK;
}

int segment_writer_page(struct segment_writer *writer, page_no number, const uint8_t **page)
{
	long sequence = find_sequence(writer, number);
	struct segment_record record;

	if (sequence < 0)
		return R_NOT_FOUND;
	for (size_t i = 0; i < SLOTS; i++) {
		const struct slot *slot = &writer->slots[i];

		/* first and pages of a slot change only in this thread. */
		if (slot->pages > 0 && number >= slot->first &&
		    number - slot->first < slot->pages) {
			*page = slot->data + (size_t)(number - slot->first) * PAGE_BYTES;
			return R_OK;
		}
	}
	pthread_mutex_lock(&writer->lock);
	record = writer->records[sequence];
	pthread_mutex_unlock(&writer->lock);
	if (record.offset == 0 || number > record.last)
		return R_NOT_FOUND;
	return read_back(writer, &record, number, page);
}

/* Without threads, which a small take does not start, its only segment is written here. */
static int write_current(struct segment_writer *writer)
{
	struct press press;
	int result;

	if (press_open(&press) != R_OK)
		return R_FAILED;
	result = write_slot(writer, &press, writer->current);
	writer->current->state = SLOT_DONE;
	writer->current = NULL;
	press_close(&press);
	return result;
}

static void join_threads(struct segment_writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->ending = true;
	pthread_cond_broadcast(&writer->queued);
	pthread_mutex_unlock(&writer->lock);
	for (size_t i = 0; i < writer->n_threads; i++)
		pthread_join(writer->threads[i], NULL);
	writer->n_threads = 0;
}

int segment_writer_finish(struct segment_writer *writer)
{
	if (writer->current && writer->n_threads > 0)
		queue_current(writer);
	else if (writer->current && write_current(writer) != R_OK)
		return R_FAILED;
	join_threads(writer);
	if (writer->failed)
		return R_FAILED;
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

const struct segment_record *segment_writer_records(struct segment_writer *writer, size_t *n)
{
	*n = writer->n_records;
	return writer->records;
}

bool segment_writer_pack(struct segment_writer *writer, size_t i, uint64_t *pack,
			 struct pack_record *record, int *fd)
{
	if (i >= writer->n_packs)
		return false;
	*pack = writer->packs[i].pack;
	*record = writer->packs[i].record;
	*fd = writer->packs[i].fd;
	return true;
}

uint64_t segment_writer_bytes(struct segment_writer *writer)
{
	uint64_t bytes;

	pthread_mutex_lock(&writer->lock);
	bytes = writer->bytes;
	pthread_mutex_unlock(&writer->lock);
	return bytes;
}

void segment_writer_close(struct segment_writer *writer, bool committed)
{
	if (!writer)
		return;
	if (!committed) {
		pthread_mutex_lock(&writer->lock);
		writer->failed = true; /* what is queued need not be written */
		pthread_mutex_unlock(&writer->lock);
	}
	join_threads(writer);
	for (size_t i = 0; i < writer->n_packs; i++) {
		if (!committed)
			pack_unlink(writer->store, writer->packs[i].pack, NULL);
		close(writer->packs[i].fd);
	}
	for (size_t i = 0; i < SLOTS; i++) {
		free(writer->slots[i].data);
		free(writer->slots[i].hashes);
	}
	segment_free(&writer->loaded);
	free(writer->loaded_pages);
	free(writer->records);
	free(writer->packs);
	pthread_cond_destroy(&writer->done);
	pthread_cond_destroy(&writer->queued);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
