/* Files that come back from something else than their path. */
#include "engine/proc/fds/ghost.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/fds_internal.h"
#include "store/store.h"

struct remap {
	uint32_t id, remap_id;
	bool linked;
};

/* A nameless inode made again; every file of it is opened through `master`. */
struct ghost {
	uint32_t id;
	int master;
	GhostFileEntry *entry;
};

struct remaps {
	struct remap *remaps;
	size_t n, room;
	struct ghost *ghosts;
	size_t n_ghosts, room_ghosts;
};

static struct ghost *find_ghost(struct remaps *remaps, uint32_t id)
{
	for (size_t i = 0; i < remaps->n_ghosts; i++) {
		if (remaps->ghosts[i].id == id)
			return &remaps->ghosts[i];
	}
	return NULL;
}

static int load_ghost(struct fds_restore *restore, uint32_t id)
{
	struct remaps *remaps = fds_restore_kinds(restore)->remaps;
	struct object object;
	ProtobufCMessage *message;
	char name[32];
	void *data;
	size_t len;
	int result;

	if (find_ghost(remaps, id))
		return R_OK;
	snprintf(name, sizeof(name), "ghost-file-%x", id);
	result =
	    store_object(fds_restore_view(restore), fds_restore_generation(restore), name, &object);
	if (result == R_OK)
		result = store_read_object(fds_restore_view(restore), &object, &data, &len);
	if (result != R_OK) {
		warn("generation %llu: image %s cannot be read; run 'snap verify'",
		     (unsigned long long)fds_restore_generation(restore), name);
		return R_DAMAGED;
	}
	result = image_read_one(IMAGE_GHOST_FILE, name, data, len, &message);
	free(data);
	if (result != R_OK)
		return result;
	if (grow(&remaps->ghosts, remaps->n_ghosts, &remaps->room_ghosts, sizeof(struct ghost)) !=
	    R_OK) {
		image_free_message(message);
		return R_FAILED;
	}
	remaps->ghosts[remaps->n_ghosts++] =
	    (struct ghost){ .id = id, .master = -1, .entry = (GhostFileEntry *)message };
	return R_OK;
}

static int load_remap(struct fds_restore *restore, const ProtobufCMessage *message,
		      const void *payload, size_t bytes)
{
	const RemapFilePathEntry *entry = (const RemapFilePathEntry *)message;
	struct remaps *remaps = fds_restore_kinds(restore)->remaps;
	bool linked = entry->has_remap_type && entry->remap_type == REMAP_TYPE__LINKED;

	(void)payload;
	(void)bytes;
	if (entry->has_remap_type && !linked && entry->remap_type != REMAP_TYPE__GHOST) {
		warn("open file %u: is a file of a dead process, which cannot be restored",
		     entry->orig_id);
		return R_UNSUPPORTED;
	}
	if (grow(&remaps->remaps, remaps->n, &remaps->room, sizeof(struct remap)) != R_OK)
		return R_FAILED;
	remaps->remaps[remaps->n++] = (struct remap){ entry->orig_id, entry->remap_id, linked };
	return linked ? R_OK : load_ghost(restore, entry->remap_id);
}

int remap_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);

	if (kinds->remaps)
		return R_OK;
	kinds->remaps = calloc(1, sizeof(*kinds->remaps));
	if (!kinds->remaps) {
		warn("no memory for the list of deleted files; free some and try again");
		return R_FAILED;
	}
	return fds_restore_each(restore, IMAGE_REMAP_FPATH, NULL, load_remap);
}

static const struct remap *find_remap(struct fds_restore *restore, uint32_t id)
{
	const struct remaps *remaps = fds_restore_kinds(restore)->remaps;

	for (size_t i = 0; remaps && i < remaps->n; i++) {
		if (remaps->remaps[i].id == id)
			return &remaps->remaps[i];
	}
	return NULL;
}

bool remap_known(struct fds_restore *restore, uint32_t id)
{
	return find_remap(restore, id) != NULL;
}

int remap_check(struct fds_restore *restore, uint32_t id, const char *name)
{
	const struct remap *remap = find_remap(restore, id);
	struct stat st;

	if (!remap || !remap->linked)
		return R_OK;
	/* The file entry of the other name is checked as every file is; here only that it exists.
	 */
	const char *other = fds_restore_path(restore, remap->remap_id);

	if (other && lstat(other, &st) == 0)
		return R_OK;
	warn_errno("%s: needed for the deleted file %s; put it back and try again",
		   other ? other : "another link", name);
	return R_FAILED;
}

/* Makes the directories above `name` that are missing; `made` of them, undone by prune_parents. */
static int make_parents(char *name, unsigned int *made)
{
	struct stat st;

	*made = 0;
	for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (lstat(name, &st) != 0 && mkdir(name, 0700) == 0)
			(*made)++;
		*slash = '/';
	}
	return R_OK;
}

static void prune_parents(const char *name, unsigned int made)
{
	char path[PATH_MAX];
	char *slash;

	if ((size_t)snprintf(path, sizeof(path), "%s", name) >= sizeof(path))
		return;
	while (made > 0 && (slash = strrchr(path, '/'))) {
		*slash = '\0';
		rmdir(path);
		made--;
	}
}

/* Makes an empty inode of the ghost's type under `name`, which must be free. */
static int make_inode(const GhostFileEntry *entry, const char *name)
{
	mode_t mode = entry->mode;
	int fd;

	switch (mode & S_IFMT) {
	case S_IFDIR:
		return mkdir(name, 0700);
	case S_IFREG:
		fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? -1 : 0;
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFSOCK:
		return mknod(name, (mode & S_IFMT) | 0600, entry->has_rdev ? entry->rdev : 0);
	default:
		errno = EINVAL;
		return -1;
	}
}

/* Owner, mode and times, through the name: a FIFO's or device's inode is not opened for it. */
static int dress_ghost(const GhostFileEntry *entry, const char *name)
{
	struct timespec times[2] = { 0 };

	if (chown(name, entry->uid, entry->gid) != 0 || chmod(name, entry->mode & 07777) != 0)
		return -1;
	if (!entry->atim || !entry->mtim)
		return 0;
	times[0].tv_sec = (time_t)entry->atim->tv_sec;
	times[0].tv_nsec = (long)entry->atim->tv_usec * 1000;
	times[1].tv_sec = (time_t)entry->mtim->tv_sec;
	times[1].tv_nsec = (long)entry->mtim->tv_usec * 1000;
	return utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW);
}

static int open_master(const GhostFileEntry *entry, const char *name)
{
	return open(name, (S_ISREG(entry->mode) ? O_RDWR : O_PATH) | O_NOFOLLOW | O_CLOEXEC);
}

/* Makes the ghost under its old name, or beside it if that is taken, and takes the name away. */
static int make_ghost(struct fds_restore *restore, struct ghost *ghost, const char *name)
{
	char path[PATH_MAX], object[32];
	unsigned int made;
	int result = R_FAILED, fd;

	if ((size_t)snprintf(path, sizeof(path), "%s", name) >= sizeof(path))
		return R_FAILED;
	make_parents(path, &made);
	if (make_inode(ghost->entry, path) != 0) {
		if (errno != EEXIST ||
		    (size_t)snprintf(path, sizeof(path), "%s.snap-%d", name, (int)getpid()) >=
			sizeof(path) ||
		    make_inode(ghost->entry, path) != 0) {
			warn_errno("%s: cannot make it again as a deleted file", path);
			goto err0;
		}
	}
	fd = open_master(ghost->entry, path);
	ghost->master = fd < 0 ? -1 : fds_restore_high(restore, fd);
	if (ghost->master < 0) {
		warn_errno("%s: cannot open it again as a deleted file", path);
		goto err1;
	}
	snprintf(object, sizeof(object), "ghost-%u", ghost->id);
	if (S_ISREG(ghost->entry->mode) &&
	    contents_restore(restore, ghost->master, object, ghost->entry->size) != R_OK)
		goto err1;
	if (dress_ghost(ghost->entry, path) != 0) {
		warn_errno("%s: cannot give the deleted file its owner, mode and times", path);
		goto err1;
	}
	result = R_OK;
err1:
	if ((S_ISDIR(ghost->entry->mode) ? rmdir(path) : unlink(path)) != 0) {
		warn_errno("%s: cannot delete it again", path);
		result = R_FAILED;
	}
err0:
	prune_parents(path, made);
	return result;
}

/* Another name of the inode exists: takes the old name for a moment, so that it is the file's. */
static int open_linked(const char *name, const char *other, int flags)
{
	bool linked = link(other, name) == 0;
	int fd = open(linked ? name : other, flags | O_CLOEXEC), saved = errno;

	if (linked)
		unlink(name);
	errno = saved;
	return fd;
}

int remap_open(struct fds_restore *restore, uint32_t id, const char *name, int flags)
{
	const struct remap *remap = find_remap(restore, id);
	struct ghost *ghost;
	char path[64];
	int fd;

	if (remap->linked) {
		const char *other = fds_restore_path(restore, remap->remap_id);

		fd = other ? open_linked(name, other, flags) : -1;
	} else {
		ghost = find_ghost(fds_restore_kinds(restore)->remaps, remap->remap_id);
		if (ghost->master < 0 && make_ghost(restore, ghost, name) != R_OK)
			return -1;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ghost->master);
		fd = open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	}
	if (fd < 0)
		warn_errno("%s (deleted): cannot open it again", name);
	return fd;
}

void remap_done(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);

	if (!kinds->remaps)
		return;
	for (size_t i = 0; i < kinds->remaps->n_ghosts; i++) {
		if (kinds->remaps->ghosts[i].master >= 0)
			close(kinds->remaps->ghosts[i].master);
		image_free_message(&kinds->remaps->ghosts[i].entry->base);
	}
	free(kinds->remaps->ghosts);
	free(kinds->remaps->remaps);
	free(kinds->remaps);
	kinds->remaps = NULL;
}
