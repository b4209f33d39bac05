#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_index.h"
#include "store/index_copy.h"
#include "store/segment_read.h"
#include "store/store_internal.h"
#include "store/walked.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MARK_FILE "snap-store"
#define MARK_BYTES_MAX 4096

/* LMDB loses its locks if a process opens one environment twice, so that is refused. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct store *open_stores;

static int register_store(struct store *store)
{
	struct store *other;

	pthread_mutex_lock(&open_lock);
	for (other = open_stores; other; other = other->next)
		if (other->dev == store->dev && other->ino == store->ino)
			break;
	if (!other) {
		store->next = open_stores;
		open_stores = store;
	}
	pthread_mutex_unlock(&open_lock);
	if (!other)
		return R_OK;
	warn("%s: this store is already open in this process", store->dir);
	return R_FAILED;
}

static void unregister_store(struct store *store)
{
	struct store **link;

	pthread_mutex_lock(&open_lock);
	for (link = &open_stores; *link; link = &(*link)->next) {
		if (*link == store) {
			*link = store->next;
			break;
		}
	}
	pthread_mutex_unlock(&open_lock);
}

static int parse_uuid(const char *text, uint8_t uuid[UUID_BYTES])
{
	for (size_t i = 0; i < UUID_BYTES; i++) {
		unsigned int byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return R_FAILED;
		uuid[i] = (uint8_t)byte;
	}
	return R_OK;
}

static int mark_damaged(const struct store *store, const char *how)
{
	warn("%s/" MARK_FILE ": %s: the store is damaged: put this file of a copy of the store in "
	     "its place",
	     store->dir, how);
	return R_DAMAGED;
}

/* R_NOT_FOUND (nothing reported) if there is no mark file. */
static int read_mark(struct store *store)
{
	unsigned int version;
	char *text, uuid[2 * UUID_BYTES + 1];
	int result = R_FAILED;
	size_t len;

	if (io_read_file(store->dirfd, MARK_FILE, MARK_BYTES_MAX, &text, &len) != R_OK) {
		if (errno == ENOENT)
			return R_NOT_FOUND;
		warn_errno("%s/" MARK_FILE ": cannot read", store->dir);
		return errno == EFBIG ? R_DAMAGED : R_FAILED;
	}
	if (sscanf(text, "snap-store %u", &version) != 1)
		result = mark_damaged(store, "not what snap wrote");
	else if (version > FORMAT_VERSION)
		warn("%s: a store of format %u; this snap knows formats up to %d: use a newer snap",
		     store->dir, version, FORMAT_VERSION);
	else if (version < FORMAT_VERSION)
		warn("%s: a store of format %u, which no released snap wrote; this snap reads "
		     "format "
		     "%d: name another directory, and take again there",
		     store->dir, version, FORMAT_VERSION);
	else if (sscanf(text, "snap-store %*u\nuuid %32[0-9a-f]", uuid) != 1 ||
		 strlen(uuid) != 2 * UUID_BYTES || parse_uuid(uuid, store->uuid) != R_OK)
		result = mark_damaged(store, "no uuid in it");
	else
		result = R_OK;
	free(text);
	return result;
}

static int write_mark(struct store *store)
{
	char text[128];
	int used;

	used = snprintf(text, sizeof(text), "snap-store %d\nuuid ", FORMAT_VERSION);
	for (size_t i = 0; i < UUID_BYTES; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "%02x", store->uuid[i]);
	text[used++] = '\n';
	fault_point("mark write");
	if (io_replace_file(store->dirfd, MARK_FILE, text, (size_t)used, 0600) == R_OK)
		return R_OK;
	warn_errno("%s/" MARK_FILE ": cannot write", store->dir);
	return R_FAILED;
}

/* R_OK if there is nothing but what an interrupted creation may have left behind, which does not
 * make a directory someone else's; R_NOT_FOUND if there is more; R_FAILED, reported. */
static int is_vacant(const struct store *store, int dirfd, bool top)
{
	static const char *const own[] = { ".", "..", "index", "packs" };
	static const char temporary[] = "." MARK_FILE "."; /* of io_replace_file() */
	struct dirent *entry;
	bool vacant = true;
	int fd, result;
	DIR *dir;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		warn_errno("%s%s: cannot list", store->dir, top ? "" : "/packs");
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	while (errno = 0, vacant && (entry = readdir(dir))) {
		vacant = top && strncmp(entry->d_name, temporary, sizeof(temporary) - 1) == 0;
		for (size_t i = 0; i < (top ? sizeof(own) / sizeof(own[0]) : 2); i++)
			if (strcmp(entry->d_name, own[i]) == 0)
				vacant = true;
	}
	result = !vacant ? R_NOT_FOUND : errno ? R_FAILED : R_OK;
	if (result == R_FAILED)
		warn_errno("%s%s: cannot list", store->dir, top ? "" : "/packs");
	closedir(dir);
	return result;
}

static int make_secret(struct index_txn *txn, void *arg)
{
	struct store *store = arg;
	int result;

	result = index_get(txn, DB_META, "secret", 6, store->secret, SECRET_BYTES);
	if (result != R_NOT_FOUND)
		return result;
	if (getrandom(store->secret, SECRET_BYTES, 0) != SECRET_BYTES) {
		warn_errno("no random bytes for the store's secret");
		return R_FAILED;
	}
	return index_put(txn, DB_META, "secret", 6, store->secret, SECRET_BYTES, true);
}

/* Writers share a lock that a repair, which puts another index in place, must have alone. */
static int lock_index(struct store *store)
{
	store->index_fd = openat(store->dirfd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->index_fd < 0) {
		/* index_open() tells of one that is missing. */
		if (errno == ENOENT)
			return R_OK;
		warn_errno("%s/index: cannot open", store->dir);
		return R_FAILED;
	}
	if (flock(store->index_fd, LOCK_SH | LOCK_NB) == 0)
		return R_OK;
	if (errno == EWOULDBLOCK) {
		warn("%s: this store is being repaired: try again when that is done", store->dir);
		return R_BUSY;
	}
	warn_errno("%s/index: cannot lock", store->dir);
	return R_FAILED;
}

static int open_rooms(struct store *store, bool create)
{
	char path[4096];
	int result;

	store->packs_fd = openat(store->dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->packs_fd < 0) {
		warn_errno("%s/packs: cannot open", store->dir);
		return R_FAILED;
	}
	result = create ? is_vacant(store, store->packs_fd, false) : R_OK;
	if (result == R_NOT_FOUND)
		warn("%s is not a store, and packs/ in it is not empty: name another directory",
		     store->dir);
	if (result != R_OK)
		return R_FAILED;
	if (snprintf(path, sizeof(path), "%s/index", store->dir) >= (int)sizeof(path)) {
		warn("%s: path too long", store->dir);
		return R_FAILED;
	}
	if (store->writable || create) {
		result = lock_index(store);
		if (result != R_OK)
			return result;
	}
	return index_open(path, create, store->writable || create, &store->index);
}

/* An interrupted creation may have left an index that is not whole; without a mark nobody needs it.
 */
static int clear_index(struct store *store)
{
	static const char *const files[] = { "index/data.mdb", "index/lock.mdb" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (unlinkat(store->dirfd, files[i], 0) && errno != ENOENT) {
			warn_errno("%s/%s: cannot remove", store->dir, files[i]);
			return R_FAILED;
		}
	}
	return R_OK;
}

/* The names in a room of the store, or of the store in the directory above it, survive a power
 * loss. */
static int sync_directory(struct store *store, const char *room)
{
	int fd = openat(store->dirfd, room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* A directory above that may not be read is not ours to sync. */
	if (fd < 0 && errno == EACCES && strcmp(room, "..") == 0)
		return R_OK;
	fault_point("directory fsync");
	if (fd < 0 || fsync(fd)) {
		warn_errno("%s/%s: cannot sync", store->dir, room);
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	close(fd);
	return R_OK;
}

/* Makes a store of an empty directory.  The mark file comes last: before it there is no store. */
static int fill_new(struct store *store)
{
	int result = is_vacant(store, store->dirfd, true);

	if (result == R_NOT_FOUND)
		warn("%s is not a store and not empty: name another directory", store->dir);
	if (result != R_OK)
		return result;
	if (fchmod(store->dirfd, 0700) ||
	    (mkdirat(store->dirfd, "index", 0700) && errno != EEXIST) ||
	    (mkdirat(store->dirfd, "packs", 0700) && errno != EEXIST)) {
		warn_errno("%s: cannot make a store here", store->dir);
		return R_FAILED;
	}
	if (clear_index(store) != R_OK || open_rooms(store, true) != R_OK)
		return R_FAILED;
	if (getrandom(store->uuid, UUID_BYTES, 0) != UUID_BYTES ||
	    index_write(store->index, make_secret, store) != R_OK ||
	    sync_directory(store, "index") != R_OK || sync_directory(store, ".") != R_OK ||
	    sync_directory(store, "..") != R_OK || write_mark(store) != R_OK)
		return R_FAILED;
	store->walked_all = true;
	store->walked_s = (int64_t)time(NULL);
	return R_OK;
}

static int load_secret(struct store *store)
{
	struct index_txn *txn;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	result = index_get(txn, DB_META, "secret", 6, store->secret, SECRET_BYTES);
	index_read_end(txn);
	if (result == R_NOT_FOUND)
		warn("%s: the index has lost the store's secret: it is damaged", store->dir);
	return result == R_OK ? R_OK : R_FAILED;
}

static int check_tables(struct store *store, const enum index_db *dbs, size_t n)
{
	struct index_txn *txn;
	int result = R_OK, once;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < n; i++)
		if ((once = index_check(txn, dbs[i])) != R_OK)
			result = once;
	index_read_end(txn);
	return result;
}

/* The last transaction that is in the index. */
static int last_txn(struct store *store, uint64_t *txn_id)
{
	struct index_txn *txn;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	*txn_id = index_txn_id(txn);
	index_read_end(txn);
	return R_OK;
}

int store_walk_all(struct store *store)
{
	static const enum index_db segments[] = { DB_SEGMENT };

	if (store->walked_all)
		return R_OK;
	if (index_walk(store->index, true) != R_OK || check_tables(store, segments, 1) != R_OK)
		return R_FAILED;
	store->walked_all = true;
	store->walked_s = (int64_t)time(NULL);
	return R_OK;
}

/*
 * What a writer looks at before it writes: all of the index, unless the command before ended as it
 * should, left the index as it is now, and knew that all of it had been looked at not long ago.
 * Then the tables that grow with the number of pages are left out: what takes read there is checked
 * against the packs, and takes destroy nothing.  A gc looks at the rest (store_walk_all()).
 */
static int walk_to_write(struct store *store)
{
	struct walked walked;
	uint64_t txn;

	if (last_txn(store, &txn) != R_OK)
		return R_FAILED;
	if (!walked_read(store, &walked) || walked.txn != txn)
		return store_walk_all(store);
	store->walked_s = walked.time_s;
	store->walked_txn = walked.txn;
	return index_walk(store->index, false);
}

/* A clean end: the next one need not look at everything again. */
static void note_walked(struct store *store)
{
	struct walked walked = { .time_s = store->walked_s };

	if (!store->writable || !store->walked_s || last_txn(store, &walked.txn) != R_OK)
		return;
	if (store->walked_all || walked.txn != store->walked_txn)
		walked_write(store, &walked);
}

/*
 * What is small is checked at every opening, before anything is written: a gc that sees too few
 * generations would throw away pages.  A store that is only read is read as far as it goes;
 * index_damage_seen() remembers.
 */
static int check_index(struct store *store)
{
	static const enum index_db small[] = { DB_META, DB_GENERATION, DB_LINEAGE };
	static const enum index_db more[] = { DB_PACK, DB_CONDEMNED, DB_HOLE };
	int result;

	if (store->writable && walk_to_write(store) != R_OK)
		return R_FAILED;
	result = check_tables(store, small, sizeof(small) / sizeof(small[0]));
	if (store->writable && result == R_OK)
		result = check_tables(store, more, sizeof(more) / sizeof(more[0]));
	if (result == R_DAMAGED && !store->writable)
		return R_OK;
	return result == R_OK ? R_OK : R_FAILED;
}

bool store_index_damage_seen(void)
{
	return index_damage_seen();
}

bool store_in_index(void)
{
	return index_in_lmdb();
}

/* Whether there are packs, which no interrupted creation of a store leaves. */
static bool has_packs(const struct store *store)
{
	int fd = openat(store->dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool has;

	if (fd < 0)
		return false;
	has = faccessat(store->dirfd, "index/data.mdb", F_OK, 0) == 0 &&
	      is_vacant(store, fd, false) == R_NOT_FOUND;
	close(fd);
	return has;
}

/* Two commands may want to make one store at the same moment; the lock lets one do it. */
static int open_or_fill(struct store *store, bool create)
{
	int result;

	if (create && flock(store->dirfd, LOCK_EX)) {
		warn_errno("%s: cannot lock", store->dir);
		return R_FAILED;
	}
	result = read_mark(store);
	if (result == R_NOT_FOUND && has_packs(store))
		return mark_damaged(store, "is missing, though packs/ holds packs");
	if (result == R_NOT_FOUND && create)
		return fill_new(store);
	if (result == R_NOT_FOUND)
		warn("%s is not a store: there is no " MARK_FILE " in it", store->dir);
	if (result == R_OK)
		result = open_rooms(store, false);
	if (result == R_OK)
		result = load_secret(store);
	if (result == R_OK)
		result = check_index(store);
	return result;
}

/* The folders above the store as well: a new user has no ~/.local/share yet. */
static int make_directory(const struct store *store)
{
	char path[PATH_MAX];
	size_t len = strlen(store->dir);

	if (len >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(path, store->dir, len + 1);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

static int open_directory(struct store *store, bool create)
{
	struct stat st;

	if (create && make_directory(store) != 0) {
		warn_errno("%s: cannot make this directory", store->dir);
		return R_FAILED;
	}
	store->dirfd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dirfd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		warn("no store at %s: the first take makes one", store->dir);
		return R_NOT_FOUND;
	}
	if (store->dirfd < 0 || fstat(store->dirfd, &st)) {
		warn_errno("%s: cannot open", store->dir);
		return R_FAILED;
	}
	store->dev = st.st_dev;
	store->ino = st.st_ino;
	return R_OK;
}

static void free_store(struct store *store)
{
	index_close(store->index);
	if (store->index_fd >= 0)
		close(store->index_fd);
	if (store->packs_fd >= 0)
		close(store->packs_fd);
	if (store->dirfd >= 0)
		close(store->dirfd);
	free(store->dir);
	free(store);
}

static void renew_copy(void *arg)
{
	index_copy_renew(arg);
}

int store_open(const char *dir, bool create, bool writable, struct store **store)
{
	struct store *new = calloc(1, sizeof(*new));
	int result;

	if (!new || !(new->dir = strdup(dir))) {
		warn("out of memory");
		free(new);
		return R_FAILED;
	}
	new->dirfd = new->packs_fd = new->index_fd = -1;
	new->writable = writable;
	result = open_directory(new, create);
	if (result != R_OK)
		goto err0;
	result = register_store(new);
	if (result != R_OK)
		goto err0;
	result = open_or_fill(new, create);
	if (result != R_OK)
		goto err1;
	flock(new->dirfd, LOCK_UN);
	if (writable && recover_packs(new, NULL) != R_OK) {
		result = R_FAILED;
		goto err1;
	}
	if (writable) {
		index_copy_renew(new);
		index_on_change(new->index, renew_copy, new);
	}
	*store = new;
	return R_OK;

err1:
	unregister_store(new);
err0:
	free_store(new);
	return result;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	note_walked(store);
	unregister_store(store);
	free_store(store);
}

int store_view_open(struct store *store, struct store_view **view)
{
	struct store_view *new = calloc(1, sizeof(*new));

	if (!new)
		goto err0;
	new->store = store;
	new->cache = segment_cache_new();
	if (!new->cache)
		goto err1;
	if (index_read_begin(store->index, &new->txn) != R_OK)
		goto err2;
	*view = new;
	return R_OK;

err2:
	segment_cache_free(new->cache);
	free(new);
	return R_FAILED;
err1:
	free(new);
err0:
	warn("out of memory");
	return R_FAILED;
}

void store_view_close(struct store_view *view)
{
	if (!view)
		return;
	index_read_end(view->txn);
	segment_cache_free(view->cache);
	directory_free(view->directory);
	hash_runs_free(view->runs);
	free(view);
}

#define DAMAGE_FILE "damaged"

int store_note_damage(struct store *store, bool any)
{
	static const char text[] =
	    "Pages of this store are damaged: see snap verify --data.  Takes "
	    "compare everything until\nsnap verify --repair finds none.\n";

	if (!any && unlinkat(store->dirfd, DAMAGE_FILE, 0) && errno != ENOENT) {
		warn_errno("%s/" DAMAGE_FILE ": cannot remove", store->dir);
		return R_FAILED;
	}
	if (any && io_replace_file(store->dirfd, DAMAGE_FILE, text, strlen(text), 0600) != R_OK) {
		warn_errno("%s/" DAMAGE_FILE ": cannot write", store->dir);
		return R_FAILED;
	}
	return R_OK;
}

bool store_damage_noted(const struct store *store)
{
	return faccessat(store->dirfd, DAMAGE_FILE, F_OK, 0) == 0;
}
