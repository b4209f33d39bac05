#include "store/segment_write.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/base_choice.h"
#include "store/cluster.h"
#include "store/pack_write.h"
#include "store/segment_encode.h"
#include "store/segment_read.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 4
/* MiB of pages between the caller and the disk at most: so many that no thread waits for the
 * caller. More would only be memory to be touched, which is dearer than the wait of a caller that
 * is ahead. Memory for one is had when no other is free. */
#define SLOTS 10
/* Reserved at once: enough for a small tree before it is frozen, then more and more. */
#define RESERVE_FIRST 4096
#define RESERVE_MAX 65536
/*
 * What the threads keep of differences for bases, all together: each goes over the bases of every
 * second (third, fourth) segment, and so needs fewer clusters at hand the more there are.  A
 * cluster of full pages is left behind soon, as pages come in order of address, and the next one is
 * faster unpacked into memory that was touched than into more of it.
 */
#define BASES_BYTES ((size_t)40 << 20)
#define BASES_BYTES_EACH ((size_t)20 << 20)
#define FULL_BASES_BYTES ((size_t)4 << 20)

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_QUEUED, SLOT_BUSY, SLOT_DONE };

/* One segment in memory. */
struct slot {
	enum slot_state state;
	size_t sequence; /* of its record; meaningful unless free */
	enum page_kind kind;
	page_no first;
	uint32_t pages, room; /* room: numbers that are its own from first on */
	uint8_t (*hashes)[HASH_BYTES];
	page_no *bases;
	uint8_t *data;
};

/* What one thread needs to make segments of slots. */
struct press {
	struct segment_encoder *encoder;
	struct store_view *view; /* for bases; NULL before the first, as what follows */
	struct base_chooser *chooser;
	uint8_t *bases; /* SEGMENT_BYTES */
};

/*
 * The caller's thread fills slots, one of each kind at a time, and hands them over; a slot keeps
 * its pages after they were written, until it is used again, for segment_writer_page().  `lock`
 * guards what stands below it; slot contents belong to the thread that the state says.
 */
struct segment_writer {
	struct store *store;
	page_no next, end; /* numbers reserved and not given */
	uint64_t reserve;
	struct slot *current[KIND_COUNT];

	struct pack_writer *packs;

	/* What own pages were read back from last. */
	struct segment loaded;
	struct cluster *loaded_cluster;
	struct unpacker *unpacker;
	uint8_t loaded_page[PAGE_BYTES];

	pthread_t threads[THREADS_MAX];
	size_t n_threads;

	pthread_mutex_t lock;
	pthread_cond_t queued, done;
	struct slot slots[SLOTS];
	struct segment_bytes bytes;
	bool ending, failed;
	struct segment_record *records; /* by sequence; offset 0: not written yet */
	size_t n_records, room_records;
};

static int reserve_pages(struct segment_writer *writer)
{
	bool first = writer->end == 0;
	struct reservation want = { .pages = writer->reserve, .packs = first };

	if (store_reserve(writer->store, &want) != R_OK)
		return R_FAILED;
	if (first)
		pack_writer_first(writer->packs, want.pack);
	writer->next = want.first_page;
	writer->end = want.first_page + want.pages;
	if (writer->reserve < RESERVE_MAX)
		writer->reserve *= 2;
	return R_OK;
}

/* Without what only bases need. */
static int press_open(const struct segment_writer *writer, struct press *press)
{
	struct segment_coding coding = segment_coding_of(writer->store->version, false);

	*press = (struct press){ 0 };
	press->encoder = segment_encoder_new(writer->store->secret, &coding);
	return press->encoder ? R_OK : R_FAILED;
}

static void press_close(struct press *press)
{
	store_view_close(press->view);
	base_chooser_free(press->chooser);
	segment_encoder_free(press->encoder);
	free(press->bases);
}

static int open_bases(const struct segment_writer *writer, struct press *press)
{
	size_t threads = writer->n_threads ? writer->n_threads : 1, bytes = BASES_BYTES / threads;

	press->chooser = base_chooser_new();
	press->bases = malloc(SEGMENT_BYTES);
	if (!press->bases)
		warn("out of memory");
	if (!press->chooser || !press->bases ||
	    store_view_open(writer->store, &press->view) != R_OK)
		return R_FAILED;
	return view_keep_bases(press->view, bytes < BASES_BYTES_EACH ? bytes : BASES_BYTES_EACH,
			       FULL_BASES_BYTES);
}

/* Chooses the base of a page and reads it to `to`.  R_NOT_FOUND: there is none that is of use. */
static int read_base(struct press *press, struct segment_page *page, page_no last, uint8_t *to)
{
	uint32_t depth_max = page->tight ? CHAIN_TIGHT_MAX : CHAIN_WRITTEN_MAX;
	const uint8_t *bytes;
	int result;

	result = base_choose(press->chooser, press->view, last, depth_max, page->bytes, &page->base,
			     &bytes);
	if (result != R_OK) {
		page->base = PAGE_ABSENT;
		return result;
	}
	memcpy(to, bytes, PAGE_BYTES);
	page->base_bytes = to;
	return R_OK;
}

/* Tells the encoder of the pages, with their bases where these are of use. */
static int gather_pages(const struct segment_writer *writer, struct press *press,
			const struct slot *slot, struct segment_page *pages)
{
	if (press->view)
		view_begin_stretch(press->view);
	for (uint32_t i = 0; i < slot->pages; i++) {
		int result;

		pages[i] = (struct segment_page){
			.number = slot->first + i,
			.hash = slot->hashes[i],
			.bytes = slot->data + (size_t)i * PAGE_BYTES,
			.tight = slot->kind != KIND_DATA,
			.sealed = slot->kind == KIND_SEALED,
		};
		if (slot->bases[i] == PAGE_ABSENT)
			continue;
		if (!press->view && open_bases(writer, press) != R_OK)
			return R_FAILED;
		result = read_base(press, &pages[i], slot->bases[i],
				   press->bases + (size_t)i * PAGE_BYTES);
		if (result == R_FAILED)
			return R_FAILED;
	}
	return R_OK;
}

static int write_slot(struct segment_writer *writer, struct press *press, const struct slot *slot)
{
	struct segment_page pages[SEGMENT_PAGES];
	struct segment_record record;
	const uint8_t *bytes;

	if (gather_pages(writer, press, slot, pages) != R_OK)
		return R_FAILED;
	bytes = segment_encode(press->encoder, pages, slot->pages, &record);
	if (pack_writer_append(writer->packs, bytes, &record) != R_OK)
		return R_FAILED;
	pthread_mutex_lock(&writer->lock);
	writer->records[slot->sequence] = record;
	writer->bytes.kinds[slot->kind] += record.body_bytes;
	writer->bytes.headers += record.header_bytes;
	pthread_mutex_unlock(&writer->lock);
	return R_OK;
}

/* The one queued that was begun first; NULL: none is.  Called with the lock held. */
static struct slot *first_queued(struct segment_writer *writer)
{
	struct slot *first = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &writer->slots[i];

		if (slot->state == SLOT_QUEUED && (!first || slot->sequence < first->sequence))
			first = slot;
	}
	return first;
}

static void *write_slots(void *arg)
{
	struct segment_writer *writer = arg;
	struct press press;
	bool ready = press_open(writer, &press) == R_OK;

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		struct slot *slot = first_queued(writer);
		bool bad;

		if (!slot) {
			if (writer->ending)
				break;
			pthread_cond_wait(&writer->queued, &writer->lock);
			continue;
		}
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
	warn_errno("cannot start a thread (is memory, or the number of tasks, limited?)");
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
	new->packs = pack_writer_new(store);
	if (!new->packs || reserve_pages(new) != R_OK) {
		pack_writer_close(new->packs, false);
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

static void queue_slot(struct segment_writer *writer, enum page_kind kind)
{
	pthread_mutex_lock(&writer->lock);
	writer->current[kind]->state = SLOT_QUEUED;
	pthread_cond_signal(&writer->queued);
	pthread_mutex_unlock(&writer->lock);
	writer->current[kind] = NULL;
}

/* The slot written longest ago, else one that was never used; NULL: all are waiting to be written.
 * Called with the lock held. */
static struct slot *idle_slot(struct segment_writer *writer)
{
	struct slot *idle = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &writer->slots[i];

		if (slot->state == SLOT_DONE &&
		    (!idle || idle->state == SLOT_FREE || slot->sequence < idle->sequence))
			idle = slot;
		else if (slot->state == SLOT_FREE && !idle)
			idle = slot;
	}
	return idle;
}

/* Waits for a slot if need be. */
static struct slot *wait_idle(struct segment_writer *writer)
{
	struct slot *slot;

	pthread_mutex_lock(&writer->lock);
	while (!writer->failed && !(slot = idle_slot(writer)))
		pthread_cond_wait(&writer->done, &writer->lock);
	if (writer->failed)
		slot = NULL;
	pthread_mutex_unlock(&writer->lock);
	return slot;
}

/* Begins a segment, with numbers of its own from the reserved range. */
static int begin_slot(struct segment_writer *writer, enum page_kind kind)
{
	struct slot *slot = wait_idle(writer);

	if (!slot)
		return R_FAILED;
	if (!slot->data) {
		slot->data = malloc(SEGMENT_PAGES * PAGE_BYTES);
		slot->hashes = malloc(SEGMENT_PAGES * HASH_BYTES);
		slot->bases = malloc(SEGMENT_PAGES * sizeof(*slot->bases));
		if (!slot->data || !slot->hashes || !slot->bases) {
			warn("out of memory");
			return R_FAILED;
		}
	}
	if (writer->next == writer->end && reserve_pages(writer) != R_OK)
		return R_FAILED;
	slot->kind = kind;
	slot->first = writer->next;
	slot->pages = 0;
	slot->room = SEGMENT_PAGES;
	if (writer->end - writer->next < slot->room)
		slot->room = (uint32_t)(writer->end - writer->next);
	if (add_record(writer, slot) != R_OK)
		return R_FAILED;
	writer->next += slot->room;
	writer->current[kind] = slot;
	return R_OK;
}

int segment_writer_add(struct segment_writer *writer, enum page_kind kind, const uint8_t *hash,
		       const void *page, page_no base, page_no *number)
{
	struct slot *slot = writer->current[kind];

	if (slot && slot->pages == slot->room) {
		if (writer->n_threads == 0 && start_threads(writer) != R_OK)
			return R_FAILED;
		queue_slot(writer, kind);
	}
	if (!writer->current[kind] && begin_slot(writer, kind) != R_OK)
		return R_FAILED;
	slot = writer->current[kind];
	memcpy(slot->data + (size_t)slot->pages * PAGE_BYTES, page, PAGE_BYTES);
	memcpy(slot->hashes[slot->pages], hash, HASH_BYTES);
	slot->bases[slot->pages] = base;
	*number = slot->first + slot->pages++;
	return R_OK;
}

/* The sequence of the segment that would hold the number; -1: none of ours.  Called with the lock
 * held. */
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

/* Has the header and the cluster of an own page at hand, read back from the pack. */
static int load_own(struct segment_writer *writer, const struct segment_record *record,
		    page_no number, uint32_t *place)
{
	struct cluster *cluster = writer->loaded_cluster;
	struct cluster_place where;
	int fd, at, result;

	result = pack_writer_open(writer->packs, record, &fd);
	if (result != R_OK)
		return result;
	if (!writer->loaded.header || writer->loaded.record.first != record->first) {
		segment_free(&writer->loaded);
		result = segment_load(writer->store->secret, fd, record, &writer->loaded);
		if (result != R_OK)
			return result;
	}
	at = segment_find(&writer->loaded, number);
	if (at < 0)
		return R_DAMAGED;
	*place = (uint32_t)at;
	if (cluster && cluster->first == record->first &&
	    cluster->index == writer->loaded.pages[at].cluster)
		return R_OK;
	cluster_free(cluster);
	writer->loaded_cluster = NULL;
	if (!writer->unpacker && !(writer->unpacker = unpacker_new())) {
		warn("out of memory");
		return R_FAILED;
	}
	where = cluster_place_of(&writer->loaded, writer->loaded.pages[at].cluster, fd);
	return cluster_read(writer->unpacker, &where, NULL, &writer->loaded_cluster);
}

int segment_writer_page(struct segment_writer *writer, struct store_view *view, page_no number,
			const uint8_t **page)
{
	struct segment_record record = { 0 };
	uint32_t place;
	long sequence;
	int result;

	pthread_mutex_lock(&writer->lock);
	sequence = find_sequence(writer, number);
	if (sequence >= 0)
		record = writer->records[sequence];
	pthread_mutex_unlock(&writer->lock);
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
	if (record.offset == 0 || number > record.last)
		return R_NOT_FOUND;
	/* Its slot has been used again, so it is written. */
	result = load_own(writer, &record, number, &place);
	if (result == R_OK)
		result = segment_read_page(view, &writer->loaded, place, writer->loaded_cluster,
					   writer->loaded_page);
	*page = writer->loaded_page;
	return result;
}

/* Without threads, which a small take does not start, its only segments are written here. */
static int write_current(struct segment_writer *writer)
{
	struct press press;
	int result;

	result = press_open(writer, &press);
	for (size_t kind = 0; kind < KIND_COUNT; kind++) {
		struct slot *slot = writer->current[kind];

		if (result == R_OK && slot)
			result = write_slot(writer, &press, slot);
		if (slot)
			slot->state = SLOT_DONE;
		writer->current[kind] = NULL;
	}
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
	for (enum page_kind kind = 0; writer->n_threads > 0 && kind < KIND_COUNT; kind++)
		if (writer->current[kind])
			queue_slot(writer, kind);
	if (writer->n_threads == 0 && write_current(writer) != R_OK)
		return R_FAILED;
	join_threads(writer);
	if (writer->failed)
		return R_FAILED;
	return pack_writer_sync(writer->packs);
}

const struct segment_record *segment_writer_records(struct segment_writer *writer, size_t *n)
{
	*n = writer->n_records;
	return writer->records;
}

struct pack_writer *segment_writer_packs(struct segment_writer *writer)
{
	return writer->packs;
}

struct segment_bytes segment_writer_bytes(const struct segment_writer *writer)
{
	return writer->bytes;
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
	pack_writer_close(writer->packs, committed);
	for (size_t i = 0; i < SLOTS; i++) {
		free(writer->slots[i].data);
		free(writer->slots[i].hashes);
		free(writer->slots[i].bases);
	}
	segment_free(&writer->loaded);
	cluster_free(writer->loaded_cluster);
	unpacker_free(writer->unpacker);
	free(writer->records);
	pthread_cond_destroy(&writer->done);
	pthread_cond_destroy(&writer->queued);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
