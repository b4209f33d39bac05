#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/hash_index.h"
#include "store/index_copy.h"
#include "store/segment_read.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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
	warn_errno("%s/index: cannot lock; the file system has to know flock(2)", store->dir);
	return R_FAILED;
}

int store_open_rooms(struct store *store, bool create)
{
	char path[4096];
	int result;

	store->packs_fd = openat(store->dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->packs_fd < 0) {
		warn_errno("%s/packs: cannot open", store->dir);
		return R_FAILED;
	}
	result = create ? store_is_vacant(store, store->packs_fd, false) : R_OK;
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

bool store_index_damage_seen(void)
{
	return index_damage_seen();
}

bool store_in_index(void)
{
	return index_in_lmdb();
}

/* Two commands may want to make one store at the same moment; the lock lets one do it. */
static int open_or_fill(struct store *store, bool create)
{
	int result;

	if (create && flock(store->dirfd, LOCK_EX)) {
		warn_errno("%s: cannot lock; the file system has to know flock(2)", store->dir);
		return R_FAILED;
	}
	result = store_mark_read(store);
	if (result == R_NOT_FOUND && store_has_packs(store))
		return store_mark_damaged(store, "is missing, though packs/ holds packs");
	if (result == R_NOT_FOUND && create)
		return store_fill(store);
	if (result == R_NOT_FOUND)
		warn("%s is not a store: there is no " MARK_FILE " in it", store->dir);
	if (result == R_OK)
		result = store_open_rooms(store, false);
	if (result == R_OK)
		result = load_secret(store);
	if (result == R_OK)
		result = store_check_index(store);
	return result;
}

static int open_directory(struct store *store, bool create)
{
	struct stat st;

	if (create && store_make_directory(store) != 0) {
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
	store_note_walked(store);
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
