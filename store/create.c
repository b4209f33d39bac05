/* Making a store where there is none. */
#include "base/fault.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int store_is_vacant(const struct store *store, int dirfd, bool top)
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

/* The names in a room of the store survive a power loss. */
static int sync_directory(const struct store *store, const char *room)
{
	int fd = openat(store->dirfd, room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

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

static int sync_one_above(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	/* One that may not be read is not ours to sync. */
	if (fd < 0)
		return errno == EACCES ? R_OK : R_FAILED;
	fault_point("directory fsync");
	rc = fsync(fd);
	close(fd);
	return rc ? R_FAILED : R_OK;
}

/*
 * So does the path of the store: each of the directories above it may be new, made by this command
 * or by one that was interrupted.  Those of another file system are not, as they were there when
 * this one was mounted.
 */
static int sync_above(const struct store *store)
{
	int at = openat(store->dirfd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ino_t below = store->ino;
	unsigned int steps = 1;
	struct stat st;

	for (; at >= 0; steps++) {
		int next;

		if (fstat(at, &st))
			break;
		if (st.st_dev != store->dev || st.st_ino == below) {
			close(at);
			return R_OK;
		}
		if (sync_one_above(at) != R_OK)
			break;
		below = st.st_ino;
		next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
	}
	if (at < 0 && errno == EACCES)
		return R_OK;
	warn_errno("%s: cannot sync the directory %u above it", store->dir, steps);
	if (at >= 0)
		close(at);
	return R_FAILED;
}

int store_fill(struct store *store)
{
	int result = store_is_vacant(store, store->dirfd, true);

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
	store->version = FORMAT_VERSION;
	if (clear_index(store) != R_OK || store_open_rooms(store, true) != R_OK)
		return R_FAILED;
	if (getrandom(store->uuid, UUID_BYTES, 0) != UUID_BYTES ||
	    index_write(store->index, make_secret, store) != R_OK ||
	    sync_directory(store, "index") != R_OK || sync_directory(store, ".") != R_OK ||
	    sync_above(store) != R_OK || store_mark_write(store) != R_OK)
		return R_FAILED;
	store->walked_all = true;
	store->walked_s = (int64_t)time(NULL);
	return R_OK;
}

bool store_has_packs(const struct store *store)
{
	int fd = openat(store->dirfd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool has;

	if (fd < 0)
		return false;
	has = faccessat(store->dirfd, "index/data.mdb", F_OK, 0) == 0 &&
	      store_is_vacant(store, fd, false) == R_NOT_FOUND;
	close(fd);
	return has;
}

int store_make_directory(const struct store *store)
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
