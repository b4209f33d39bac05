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

#include "base/ending.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/ghost_internal.h"
#include "store/store.h"

struct remap {
	uint32_t id, remap_id;
	bool linked;
};

struct remaps {
	struct remap *remaps;
	size_t n, room;
	struct ghost *ghosts;
	size_t n_ghosts, room_ghosts;
	const SnapLinkEntry **links;
	size_t n_links, room_links;
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

static int load_more(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	const SnapGhostEntry *entry = (const SnapGhostEntry *)message;
	struct ghost *ghost = find_ghost(fds_restore_kinds(restore)->remaps, entry->id);

	(void)payload;
	(void)bytes;
	if (ghost)
		ghost->more = entry;
	return R_OK;
}

static int load_link(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	struct remaps *remaps = fds_restore_kinds(restore)->remaps;

	(void)payload;
	(void)bytes;
	if (grow(&remaps->links, remaps->n_links, &remaps->room_links, sizeof(*remaps->links)) !=
	    R_OK)
		return R_FAILED;
	remaps->links[remaps->n_links++] = (const SnapLinkEntry *)message;
	return R_OK;
}

int remap_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	int result;

	if (kinds->remaps)
		return R_OK;
	kinds->remaps = calloc(1, sizeof(*kinds->remaps));
	if (!kinds->remaps) {
		warn("no memory for the list of deleted files; free some and try again");
		return R_FAILED;
	}
	result = fds_restore_each(restore, IMAGE_REMAP_FPATH, NULL, load_remap);
	if (result == R_OK)
		result = fds_restore_each(restore, IMAGE_SNAP_GHOSTS, NULL, load_more);
	return result == R_OK ? fds_restore_each(restore, IMAGE_SNAP_LINKS, NULL, load_link)
			      : result;
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

static const SnapLinkEntry *find_link(struct fds_restore *restore, uint32_t id)
{
	const struct remaps *remaps = fds_restore_kinds(restore)->remaps;

	for (size_t i = 0; remaps && i < remaps->n_links; i++) {
		if (remaps->links[i]->id == id)
			return remaps->links[i];
	}
	return NULL;
}

bool remap_known(struct fds_restore *restore, uint32_t id)
{
	return find_remap(restore, id) || find_link(restore, id);
}

static int check_link(const SnapLinkEntry *link, const char *name)
{
	int fd = ghost_link_open(link, name);

	if (fd >= 0) {
		close(fd);
		return R_OK;
	}
	warn_errno("%s: was deleted, but had another name; the file (inode %llu) cannot be found "
		   "in its file system",
		   name, (unsigned long long)link->ino);
	return R_FAILED;
}

int remap_check(struct fds_restore *restore, uint32_t id, const char *name)
{
	const struct remap *remap = find_remap(restore, id);
	struct stat st;

	if (!remap)
		return check_link(find_link(restore, id), name);
	if (!remap->linked)
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

/* Another name of the inode exists: takes the old name for a moment, so that it is the file's. */
static int open_linked(const char *name, const char *other, int flags)
{
	bool linked;
	int fd, saved;

	ending_hold();
	linked = linkat(AT_FDCWD, other, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
	fd = open(linked ? name : other, flags | O_CLOEXEC);
	saved = errno;
	if (linked)
		unlink(name);
	ending_allow();
	errno = saved;
	return fd;
}

static int open_by_link(const SnapLinkEntry *link, const char *name, int flags)
{
	int path_fd = ghost_link_open(link, name), fd, saved;
	char path[64];

	if (path_fd < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open_linked(name, path, flags);
	saved = errno;
	close(path_fd);
	errno = saved;
	return fd;
}

static int open_ghost(struct fds_restore *restore, struct ghost *ghost, const char *name, int flags)
{
	char path[64];

	if (ghost->master < 0 && ghost_make(restore, ghost, name) != R_OK)
		return -1;
	/* The way to a symbolic link itself leads through its name, which is gone. */
	if (S_ISLNK(ghost->entry->mode))
		return fcntl(ghost->master, F_DUPFD_CLOEXEC, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ghost->master);
	return open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
}

int remap_open(struct fds_restore *restore, uint32_t id, const char *name, int flags)
{
	const struct remap *remap = find_remap(restore, id);
	struct ghost *ghost;
	int fd;

	if (!remap) {
		fd = open_by_link(find_link(restore, id), name, flags);
	} else if (remap->linked) {
		const char *other = fds_restore_path(restore, remap->remap_id);

		fd = other ? open_linked(name, other, flags) : -1;
	} else {
		ghost = find_ghost(fds_restore_kinds(restore)->remaps, remap->remap_id);
		fd = open_ghost(restore, ghost, name, flags);
	}
	if (fd < 0)
		warn_errno("%s (deleted): cannot open it again", name);
	return fd;
}

int remap_finish(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	struct remaps *remaps = fds_restore_kinds(restore)->remaps;

	(void)tasks;
	(void)n;
	for (size_t i = 0; remaps && i < remaps->n_ghosts; i++) {
		if (remaps->ghosts[i].master >= 0 && ghost_finish(&remaps->ghosts[i]) != R_OK)
			return R_FAILED;
	}
	return R_OK;
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
	free(kinds->remaps->links);
	free(kinds->remaps->remaps);
	free(kinds->remaps);
	kinds->remaps = NULL;
}
