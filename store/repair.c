/*
 * An index that is damaged is made anew: the segments of the packs name their pages and hashes, and
 * the copy of the index has all else.  The new one takes the place of the old one by a rename.
 */
#include "base/endian.h"
#include "base/io.h"
#include "base/list.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_index.h"
#include "store/index_copy.h"
#include "store/walked.h"
#include "store/pack.h"
#include "store/pack_scan.h"
#include "store/repair_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NEW_INDEX "index.new"
/* Page numbers passed over, in case the copy is older than the last takes: never twice the same. */
#define PAGES_SPARE ((uint64_t)1 << 24)
/* The same for numbers of pre-dumps, which proofs of tracking name; gaps in them do no harm. */
#define PREDUMPS_SPARE ((uint64_t)1 << 20)
/* And for those of generations, which such proofs name as well; people see the gap, once. */
#define GENERATIONS_SPARE 64u

struct repair_pack {
	uint64_t number, bytes, unread_bytes;
	size_t begin, end; /* its segments among those found */
};

/* One pack while it is entered: its segments that are, and their hashes. */
struct entered {
	const struct repair_pack *pack;
	struct segment_record *records;
	size_t n, room;
	struct hash_entry *hashes;
	size_t n_hashes, room_hashes;
};

struct repair {
	struct store *store; /* of which only the directories, secret and new index are there */
	struct index_copy copy;
	struct repair_pack *packs; /* the newest first */
	size_t n_packs;
	struct found *found;
	size_t n_found, room_found;
	struct entered entered;
	uint64_t next_page, next_pack;
};

/* Looks at the index in a process of its own, which may crash; a signal means damage. */
static int look_apart(struct store *store, const char *path)
{
	struct index_txn *txn;
	int status, result;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		result = index_open(path, false, true, &store->index);
		if (result == R_OK)
			result = index_walk(store->index, true);
		if (result == R_OK)
			result = index_read_begin(store->index, &txn);
		for (enum index_db db = 0; result == R_OK && db < DB_COUNT; db++)
			result = index_check(txn, db);
		_exit(result == R_OK ? 0 : index_damage_seen() ? 5 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		warn_errno("cannot start a process to look at the index");
		return R_FAILED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return R_OK;
	return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? R_FAILED : R_DAMAGED;
}

static int note_found(const struct segment *segment, bool whole, void *arg)
{
	struct repair *repair = arg;
	struct found *list =
	    list_grow(repair->found, repair->n_found, &repair->room_found, sizeof(*repair->found));

	if (!list)
		return R_FAILED;
	repair->found = list;
	repair->found[repair->n_found++] =
	    (struct found){ .record = segment->record, .whole = whole };
	if (segment->record.last >= repair->next_page)
		repair->next_page = segment->record.last + 1;
	return R_OK;
}

static int scan_pack(struct repair *repair, struct repair_pack *pack)
{
	struct stat st;
	int fd, result;

	result = pack_open(repair->store, pack->number, false, &fd);
	if (result != R_OK)
		return R_FAILED;
	pack->bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	pack->begin = repair->n_found;
	result = pack_scan(repair->store->secret, fd, pack->number, note_found, repair,
			   &pack->unread_bytes);
	pack->end = repair->n_found;
	close(fd);
	if (pack->unread_bytes > 0)
		warn("%s/packs/%016" PRIx64 ".pack: %" PRIu64
		     " bytes of it cannot be read, and segments that begin there are lost: check "
		     "the disk",
		     repair->store->dir, pack->number, pack->unread_bytes);
	if (pack->number >= repair->next_pack)
		repair->next_pack = pack->number + 1;
	return result;
}

static int gather_record(struct entered *e, const struct segment_record *record)
{
	struct segment_record *list = list_grow(e->records, e->n, &e->room, sizeof(*e->records));

	if (!list)
		return R_FAILED;
	e->records = list;
	e->records[e->n++] = *record;
	return R_OK;
}

static int gather_hash(struct entered *e, const uint8_t *hash, page_no number)
{
	struct hash_entry *list =
	    list_grow(e->hashes, e->n_hashes, &e->room_hashes, sizeof(*e->hashes));

	if (!list)
		return R_FAILED;
	e->hashes = list;
	e->hashes[e->n_hashes].prefix = hash_prefix(hash);
	e->hashes[e->n_hashes++].number = number;
	return R_OK;
}

/* Has the record and the hashes of a segment entered with those of its pack.  One that cannot be
 * read any more is passed over. */
static int gather(struct repair *repair, int fd, const struct segment_record *record)
{
	struct entered *e = &repair->entered;
	struct segment segment;
	int result = segment_load(repair->store->secret, fd, record, &segment);

	if (result != R_OK)
		return result == R_DAMAGED ? R_OK : result;
	result = gather_record(e, record);
	for (uint32_t i = 0; result == R_OK && i < record->pages; i++) {
		if (record->flags & SEGMENT_SEALED)
			break;
		result = gather_hash(e, segment_hash(&segment, i), segment_number(&segment, i));
	}
	segment_free(&segment);
	return result;
}

/* Whether a segment with some of these numbers is there already: of a newer pack, into which gc has
 * moved what is alive. */
static int overlaps(struct index_txn *txn, const struct segment_record *record, bool *found)
{
	uint8_t raw[SEGMENT_RECORD_BYTES];
	struct segment_record other;
	uint64_t first;
	int result;

	*found = false;
	result = index_floor(txn, DB_SEGMENT, record->last, &first, raw, sizeof(raw));
	if (result == R_OK) {
		segment_record_decode(first, raw, &other);
		*found = other.last >= record->first;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static int put_entered(struct index_txn *txn, void *arg)
{
	struct repair *repair = arg;
	struct entered *e = &repair->entered;
	uint8_t raw[SEGMENT_RECORD_BYTES], pack_raw[PACK_RECORD_BYTES];
	struct pack_record pack = { .bytes = e->pack->bytes };
	int result;

	result = index_get_u64(txn, DB_PACK, e->pack->number, pack_raw, sizeof(pack_raw));
	if (result == R_OK)
		pack_record_decode(pack_raw, &pack);
	if (result == R_FAILED)
		return R_FAILED;
	for (size_t i = 0; i < e->n; i++) {
		bool found;

		if (overlaps(txn, &e->records[i], &found) != R_OK)
			return R_FAILED;
		if (found)
			continue;
		segment_record_encode(&e->records[i], raw);
		if (index_put_u64(txn, DB_SEGMENT, e->records[i].first, raw, sizeof(raw)) != R_OK)
			return R_FAILED;
		pack.segments++;
	}
	/* One that the index does not know is removed, but another disk may read it. */
	if (pack.segments == 0 && e->pack->unread_bytes == 0)
		return R_OK;
	pack_record_encode(&pack, pack_raw);
	if (index_put_u64(txn, DB_PACK, e->pack->number, pack_raw, sizeof(pack_raw)) != R_OK)
		return R_FAILED;
	return e->n_hashes ? hash_index_add(txn, e->hashes, e->n_hashes) : R_OK;
}

/* Enters those of its segments that are whole, or the others. */
static int enter_pack(struct repair *repair, const struct repair_pack *pack, bool whole)
{
	struct entered *e = &repair->entered;
	int fd, result;

	e->pack = pack;
	e->n = e->n_hashes = 0;
	result = pack_open(repair->store, pack->number, false, &fd);
	if (result != R_OK)
		return R_FAILED;
	for (size_t i = pack->begin; result == R_OK && i < pack->end; i++)
		if (repair->found[i].whole == whole && !repair->found[i].leftover)
			result = gather(repair, fd, &repair->found[i].record);
	close(fd);
	if (result == R_OK && (e->n > 0 || pack->unread_bytes > 0))
		result = index_write(repair->store->index, put_entered, repair);
	return result;
}

static int newest_first(const void *a, const void *b)
{
	const struct repair_pack *x = a, *y = b;

	return (x->number < y->number) - (x->number > y->number);
}

static int list_packs(struct repair *repair)
{
	struct repair_pack *list;
	struct dirent *entry;
	size_t room = 0;
	uint64_t pack;
	DIR *dir;

	dir = pack_list(repair->store);
	if (!dir)
		return R_FAILED;
	while (errno = 0, (entry = readdir(dir))) {
		if (!pack_number(entry->d_name, &pack))
			continue;
		list = list_grow(repair->packs, repair->n_packs, &room, sizeof(*repair->packs));
		if (!list) {
			closedir(dir);
			return R_FAILED;
		}
		repair->packs = list;
		repair->packs[repair->n_packs++] = (struct repair_pack){ .number = pack };
	}
	/* The next writer removes packs that the new index does not know. */
	if (errno) {
		warn_errno("%s/packs: cannot list", repair->store->dir);
		closedir(dir);
		return R_FAILED;
	}
	closedir(dir);
	if (repair->n_packs > 1)
		qsort(repair->packs, repair->n_packs, sizeof(*repair->packs), newest_first);
	return R_OK;
}

/* Everything that is not in the packs. */
static int put_head(struct index_txn *txn, void *arg)
{
	const struct repair *repair = arg;
	const struct index_copy *copy = &repair->copy;

	if (index_put(txn, DB_META, "secret", 6, copy->secret, SECRET_BYTES, true) != R_OK ||
	    index_meta_put(txn, "next_page", repair->next_page + PAGES_SPARE) != R_OK ||
	    index_meta_put(txn, "next_pack", repair->next_pack) != R_OK ||
	    index_meta_put(txn, "next_generation", copy->next_generation + GENERATIONS_SPARE) !=
		R_OK ||
	    (copy->next_predump &&
	     index_meta_put(txn, "next_predump", copy->next_predump + PREDUMPS_SPARE) != R_OK))
		return R_FAILED;
	for (size_t i = 0; i < copy->n_generations; i++) {
		struct generation_record record = copy->generations[i];

		/* The transactions of the new index begin anew, and no view is left of old ones. */
		record.commit_txn = 0;
		/* In ascending order, so the newest of a lineage stays. */
		if (generation_write(txn, &record) != R_OK ||
		    generation_set_newest(txn, &record.gen, record.gen.number) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int fill_index(struct repair *repair)
{
	int result = list_packs(repair);

	for (size_t i = 0; result == R_OK && i < repair->n_packs; i++)
		result = scan_pack(repair, &repair->packs[i]);
	if (result == R_OK)
		result = mark_leftovers(repair->store, repair->found, repair->n_found);
	/* Those that can be unpacked first: another one with the same pages may be a leftover. */
	for (int whole = 1; result == R_OK && whole >= 0; whole--)
		for (size_t i = 0; result == R_OK && i < repair->n_packs; i++)
			result = enter_pack(repair, &repair->packs[i], whole);
	return result == R_OK ? index_write(repair->store->index, put_head, repair) : R_FAILED;
}

static int clear_room(struct store *store, const char *room, bool gone)
{
	static const char *const files[] = { "data.mdb", "lock.mdb" };
	char path[64];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", room, files[i]);
		if (unlinkat(store->dirfd, path, 0) && errno != ENOENT) {
			warn_errno("%s/%s: cannot remove", store->dir, path);
			return R_FAILED;
		}
	}
	if (gone && unlinkat(store->dirfd, room, AT_REMOVEDIR) && errno != ENOENT) {
		warn_errno("%s/%s: cannot remove", store->dir, room);
		return R_FAILED;
	}
	return R_OK;
}

static int rebuild(struct repair *repair)
{
	struct store *store = repair->store;
	char path[4096];
	int result;

	if (mkdirat(store->dirfd, NEW_INDEX, 0700) && errno != EEXIST) {
		warn_errno("%s/" NEW_INDEX ": cannot make", store->dir);
		return R_FAILED;
	}
	if (clear_room(store, NEW_INDEX, false) != R_OK)
		return R_FAILED;
	snprintf(path, sizeof(path), "%s/" NEW_INDEX, store->dir);
	result = index_open(path, true, true, &store->index);
	if (result != R_OK)
		return R_FAILED;
	result = fill_index(repair);
	index_close(store->index);
	store->index = NULL;
	if (result != R_OK)
		return R_FAILED;
	/* Neither what was known of the old index nor its locks must outlive it. */
	if (walked_remove(store) != R_OK)
		return R_FAILED;
	if (io_move_file(store->dirfd, NEW_INDEX "/data.mdb", "index/data.mdb") != R_OK) {
		warn_errno("%s/index/data.mdb: cannot put the new index in its place", store->dir);
		return R_FAILED;
	}
	if (unlinkat(store->dirfd, "index/lock.mdb", 0) && errno != ENOENT) {
		warn_errno("%s/index/lock.mdb: cannot remove", store->dir);
		return R_FAILED;
	}
	return clear_room(store, NEW_INDEX, true);
}

/* Nobody else may write meanwhile: writers hold this lock shared while they have the store open. */
static int repair_locked(struct repair *repair, const char *path, bool *rebuilt)
{
	struct store *store = repair->store;
	int result;

	result = look_apart(store, path);
	if (result != R_DAMAGED)
		return result;
	result = index_copy_read(store->dirfd, store->dir, &repair->copy);
	if (result != R_OK) {
		warn("%s: the index is damaged, and %s of it to make it anew with: put the folder "
		     "index/ of a copy of this store in its place",
		     store->dir, result == R_NOT_FOUND ? "there is no copy" : "so is the copy");
		return result == R_FAILED ? R_FAILED : R_DAMAGED;
	}
	memcpy(store->secret, repair->copy.secret, SECRET_BYTES);
	repair->next_page = repair->copy.next_page;
	repair->next_pack = repair->copy.next_pack;
	result = rebuild(repair);
	if (result == R_OK) {
		*rebuilt = true;
		note("%s: the index is made anew: %zu generations, %zu packs", store->dir,
		     repair->copy.n_generations, repair->n_packs);
	}
	return result;
}

int store_repair_index(const char *dir, bool *rebuilt)
{
	struct store store = { .dir = (char *)dir, .dirfd = -1, .packs_fd = -1, .writable = true };
	struct repair repair = { .store = &store };
	char path[4096];
	int lock = -1, result = R_FAILED;

	*rebuilt = false;
	store.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store.dirfd < 0 || faccessat(store.dirfd, "snap-store", F_OK, 0)) {
		warn("no store at %s", dir);
		if (store.dirfd >= 0)
			close(store.dirfd);
		return R_NOT_FOUND;
	}
	store.packs_fd = openat(store.dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lock = openat(store.dirfd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store.packs_fd < 0 || lock < 0 ||
	    snprintf(path, sizeof(path), "%s/index", dir) >= (int)sizeof(path)) {
		warn_errno("%s: cannot open packs/ and index/", dir);
	} else if (flock(lock, LOCK_EX | LOCK_NB)) {
		warn("%s: somebody is writing to this store: repair it when that is done", dir);
		result = R_BUSY;
	} else {
		result = repair_locked(&repair, path, rebuilt);
	}
	index_copy_free(&repair.copy);
	free(repair.found);
	free(repair.entered.records);
	free(repair.entered.hashes);
	free(repair.packs);
	if (lock >= 0)
		close(lock);
	if (store.packs_fd >= 0)
		close(store.packs_fd);
	close(store.dirfd);
	return result;
}
