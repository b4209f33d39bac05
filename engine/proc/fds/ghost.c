#include "engine/proc/fds/ghost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"

#define BATCH_PAGES 64

/* Opens an inode anew, whatever way and under whatever name we hold it. */
static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* Hands the data of one extent to the writer, page by page. */
static int put_extent(struct object_writer *writer, int fd, off_t from, off_t to)
{
	static _Alignas(PAGE_BYTES) char pages[BATCH_PAGES * PAGE_BYTES];

	while (from < to) {
		size_t want =
		    (size_t)(to - from) < sizeof(pages) ? (size_t)(to - from) : sizeof(pages);
		size_t n = (want + PAGE_BYTES - 1) / PAGE_BYTES;

		memset(pages, 0, n * PAGE_BYTES);
		if (io_pread_all(fd, pages, want, from) != R_OK) {
			warn_errno("cannot read a deleted file at offset %lld", (long long)from);
			return R_FAILED;
		}
		if (object_pages(writer, (uint64_t)from / PAGE_BYTES, pages, n) != R_OK)
			return R_FAILED;
		from += (off_t)(n * PAGE_BYTES);
	}
	return R_OK;
}

static int put_extents(struct object_writer *writer, int fd, off_t size)
{
	off_t done = 0;

	for (;;) {
		off_t data = lseek(fd, done, SEEK_DATA), hole;

		if (data < 0)
			return errno == ENXIO ? R_OK : R_FAILED;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		/* Whole pages; two extents may meet in one. */
		data -= data % PAGE_BYTES;
		hole += (PAGE_BYTES - hole % PAGE_BYTES) % PAGE_BYTES;
		if (data < done)
			data = done;
		if (hole > data && put_extent(writer, fd, data, hole < size ? hole : size) != R_OK)
			return R_FAILED;
		done = hole;
		if (done >= size)
			return R_OK;
	}
}

int contents_take(struct fds_take *take, const struct taken_file *f, const char *name)
{
	struct object_writer *writer;
	int fd, result;

	if (!fds_take_ingest(take))
		return R_OK;
	/* Opening it would break the lease, which its holder would be told. */
	if (strstr(f->info, "LEASE")) {
		warn("%s: deleted, with a lease on it; cannot be snapshotted", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	fd = reopen(f->local, O_RDONLY | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = reopen(f->local, O_RDONLY);
	if (fd < 0) {
		warn_errno("%s: cannot be opened to read it", taken_file_name(f));
		return R_FAILED;
	}
	result = object_begin(fds_take_ingest(take), name, &writer);
	if (result == R_OK) {
		int read_result = put_extents(writer, fd, f->st.st_size);

		result = object_end(writer, (uint64_t)f->st.st_size);
		if (read_result != R_OK) {
			warn("%s: cannot keep what it holds", taken_file_name(f));
			result = R_FAILED;
		}
	}
	close(fd);
	return result;
}

static int put_ghost(struct fds_take *take, struct taken_file *f, uint32_t ghost)
{
	GhostFileEntry entry = GHOST_FILE_ENTRY__INIT;
	Timeval atim = TIMEVAL__INIT, mtim = TIMEVAL__INIT;
	char name[32];

	if ((uint64_t)f->st.st_blocks * 512 > fds_take_ghost_max(take)) {
		warn("%s: deleted, with %lld bytes of data; more than is kept of such files",
		     taken_file_name(f), (long long)f->st.st_blocks * 512);
		return R_UNSUPPORTED;
	}
	entry.uid = f->st.st_uid;
	entry.gid = f->st.st_gid;
	entry.mode = f->st.st_mode;
	entry.has_dev = entry.has_ino = entry.has_rdev = entry.has_size = 1;
	entry.dev = (uint32_t)f->st.st_dev;
	entry.ino = f->st.st_ino;
	entry.rdev = (uint32_t)f->st.st_rdev;
	entry.size = (uint64_t)f->st.st_size;
	atim.tv_sec = (uint64_t)f->st.st_atim.tv_sec;
	atim.tv_usec = (uint64_t)f->st.st_atim.tv_nsec / 1000;
	mtim.tv_sec = (uint64_t)f->st.st_mtim.tv_sec;
	mtim.tv_usec = (uint64_t)f->st.st_mtim.tv_nsec / 1000;
	entry.atim = &atim;
	entry.mtim = &mtim;
	snprintf(name, sizeof(name), "ghost-%u", ghost);
	if (S_ISREG(f->st.st_mode)) {
		int result = contents_take(take, f, name);

		if (result != R_OK)
			return result;
	}
	return fds_take_put_one(take, IMAGE_GHOST_FILE, ghost, &entry.base);
}

static void put_remap(struct fds_take *take, uint32_t id, uint32_t remap_id, RemapType type)
{
	RemapFilePathEntry entry = REMAP_FILE_PATH_ENTRY__INIT;

	entry.orig_id = id;
	entry.remap_id = remap_id;
	entry.has_remap_type = 1;
	entry.remap_type = type;
	fds_take_put(take, IMAGE_REMAP_FPATH, &entry.base, NULL, 0);
}

/* Looks for another name of the inode in the directory where it was deleted. */
static int find_sibling(const struct taken_file *f, const char *name, char *sibling, size_t size)
{
	const char *slash = strrchr(name, '/');
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int result = R_NOT_FOUND;

	if (!slash ||
	    (size_t)snprintf(sibling, size, "%.*s", (int)(slash - name + 1), name) >= size)
		return R_NOT_FOUND;
	dir = opendir(sibling);
	if (!dir)
		return R_NOT_FOUND;
	while (result == R_NOT_FOUND && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    st.st_ino != f->st.st_ino || st.st_dev != f->st.st_dev)
			continue;
		if ((size_t)snprintf(sibling, size, "%.*s/%s", (int)(slash - name), name,
				     entry->d_name) < size)
			result = R_OK;
	}
	closedir(dir);
	return result;
}

int path_take(struct fds_take *take, struct taken_file *f, const char **name)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(f->link), mark_len = sizeof(mark) - 1;
	char sibling[PATH_MAX];
	struct stat st;
	uint32_t other;
	bool fresh;
	char *bare;

	*name = f->link;
	if (f->link[0] == '/' && lstat(f->link, &st) == 0 && st.st_ino == f->st.st_ino &&
	    st.st_dev == f->st.st_dev)
		return R_OK;
	if (f->link[0] != '/' || len <= mark_len || strcmp(f->link + len - mark_len, mark) != 0) {
		warn("%s: its path does not lead to it from here (another mount namespace, or "
		     "mounted over); cannot be snapshotted",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	bare = fds_take_strdup(take, f->link);
	if (!bare)
		return R_FAILED;
	bare[len - mark_len] = '\0';
	*name = bare;
	if (f->st.st_nlink == 0) {
		uint32_t ghost =
		    fds_take_inode_id(take, "ghost", f->st.st_dev, f->st.st_ino, &fresh);

		put_remap(take, f->id, ghost, REMAP_TYPE__GHOST);
		return fresh ? put_ghost(take, f, ghost) : R_OK;
	}
	if (find_sibling(f, bare, sibling, sizeof(sibling)) != R_OK) {
		warn("%s: deleted under this name, alive under another in a directory unknown; "
		     "cannot be snapshotted",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	if (fds_register_path(take, sibling, O_RDONLY, &other) != R_OK)
		return R_FAILED;
	put_remap(take, f->id, other, REMAP_TYPE__LINKED);
	return R_OK;
}
