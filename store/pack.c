#include "store/pack.h"

#include "base/endian.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void pack_name(uint64_t pack, char name[PACK_NAME_BYTES])
{
	snprintf(name, PACK_NAME_BYTES, "%016" PRIx64 ".pack", pack);
}

bool pack_number(const char *name, uint64_t *pack)
{
	char again[PACK_NAME_BYTES];

	if (sscanf(name, "%16" SCNx64, pack) != 1)
		return false;
	pack_name(*pack, again);
	return strcmp(name, again) == 0;
}

static int write_header(struct store *store, uint64_t pack, int fd)
{
	uint8_t header[PACK_HEADER_BYTES] = { 0 };

	memcpy(header, PACK_MAGIC, 8);
	put_le32(header + 8, store->version);
	put_le64(header + 16, pack);
	memcpy(header + 24, store->uuid, UUID_BYTES);
	fault_point("pack header write");
	return io_pwrite_all(fd, header, sizeof(header), 0);
}

DIR *pack_list(struct store *store)
{
	int fd = openat(store->packs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		warn_errno("%s/packs: cannot list", store->dir);
		if (fd >= 0)
			close(fd);
	}
	return dir;
}

/* Between creation and lock, recovery may have found an unlocked pack no index knows: R_BUSY. */
static int lock_new(struct store *store, const char *name, int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fstat(fd, &st) || st.st_nlink == 0 ? R_BUSY : R_OK;
	if (errno == EWOULDBLOCK)
		return R_BUSY;
	warn_errno("%s/packs/%s: cannot lock; the file system has to know flock(2)", store->dir,
		   name);
	unlinkat(store->packs_fd, name, 0);
	return R_FAILED;
}

int pack_create(struct store *store, uint64_t pack, int *fd)
{
	char name[PACK_NAME_BYTES];
	int new, result;

	pack_name(pack, name);
	new = openat(store->packs_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (new < 0) {
		warn_errno("%s/packs/%s: cannot create", store->dir, name);
		return R_FAILED;
	}
	result = lock_new(store, name, new);
	if (result != R_OK) {
		close(new);
		return result;
	}
	if (write_header(store, pack, new) != R_OK) {
		warn_errno("%s/packs/%s: cannot write", store->dir, name);
		unlinkat(store->packs_fd, name, 0);
		close(new);
		return R_FAILED;
	}
	*fd = new;
	return R_OK;
}

int pack_open(struct store *store, uint64_t pack, bool writable, int *fd)
{
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	char name[PACK_NAME_BYTES];

	pack_name(pack, name);
	/* When a pack was read is of no use to anybody, and noting it takes time with each piece.
	 * Only its owner may say so. */
	*fd = openat(store->packs_fd, name, flags | O_NOATIME);
	if (*fd < 0 && errno == EPERM)
		*fd = openat(store->packs_fd, name, flags);
	if (*fd >= 0)
		return R_OK;
	if (errno == ENOENT)
		return R_NOT_FOUND;
	warn_errno("%s/packs/%s: cannot open", store->dir, name);
	return R_FAILED;
}

int pack_unlink(struct store *store, uint64_t pack, uint64_t *bytes)
{
	char name[PACK_NAME_BYTES];
	struct stat st;

	pack_name(pack, name);
	if (fstatat(store->packs_fd, name, &st, 0)) {
		if (errno == ENOENT)
			return R_OK;
		warn_errno("%s/packs/%s: cannot look at it", store->dir, name);
		return R_FAILED;
	}
	fault_point("pack unlink");
	if (unlinkat(store->packs_fd, name, 0) && errno != ENOENT) {
		warn_errno("%s/packs/%s: cannot remove", store->dir, name);
		return R_FAILED;
	}
	if (bytes)
		*bytes += (uint64_t)st.st_blocks * 512;
	return R_OK;
}

static void tell_no_holes(const struct store *store)
{
	static bool told;

	if (!told)
		note("%s/packs: this file system cannot punch holes: what is dead gives its space "
		     "back only with the whole pack it is in",
		     store->dir);
	told = true;
}

int pack_punch(struct store *store, uint64_t pack, uint64_t offset, uint64_t len, uint64_t *bytes)
{
	struct stat before, after;
	int fd, result;

	result = pack_open(store, pack, true, &fd);
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_OK : result;
	fault_point("punch");
	if (fstat(fd, &before) ||
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) ||
	    fstat(fd, &after)) {
		if (errno == EOPNOTSUPP) {
			tell_no_holes(store);
		} else {
			warn_errno("%s/packs/%016" PRIx64 ".pack: cannot punch a hole", store->dir,
				   pack);
			result = R_FAILED;
		}
	} else if (before.st_blocks > after.st_blocks) {
		*bytes += (uint64_t)(before.st_blocks - after.st_blocks) * 512;
	}
	close(fd);
	return result;
}
