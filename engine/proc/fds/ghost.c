/* Files whose path does not lead to them (any more). */
#include "engine/proc/fds/ghost_internal.h"
#include "engine/proc/fds/ghost.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

void ghost_object_name(char name[32], uint32_t id)
{
	snprintf(name, 32, "ghost-%u", id);
}

static bool id_is_taken(const struct fds_take *take, const struct fds_prepared *prepared,
			uint32_t id)
{
	for (size_t i = 0; prepared && i < prepared->n_reads; i++)
		if (prepared->reads[i].id == id)
			return true;
	for (size_t i = 0; take && i < take->n_ghosts; i++)
		if (take->ghosts[i].id == id)
			return true;
	return false;
}

uint32_t ghost_id(const struct fds_take *take, const struct fds_prepared *prepared, dev_t dev,
		  ino_t ino)
{
	uint64_t mixed = (ino ^ (uint64_t)dev << 40) * 0x9e3779b97f4a7c15u;
	uint32_t id = (uint32_t)(mixed >> 33);

	for (size_t i = 0; prepared && i < prepared->n_reads; i++) {
		const struct ghost_read *read = &prepared->reads[i];

		if (read->st.st_dev == dev && read->st.st_ino == ino)
			return read->id;
	}
	while (id == 0 || id_is_taken(take, prepared, id))
		id = (id + 1) & 0x7fffffffu;
	return id;
}

int ghost_note(struct fds_take *take, struct taken_file *f, uint32_t *id)
{
	struct ghost_taken *ghost;

	for (size_t i = 0; i < take->n_ghosts; i++) {
		ghost = &take->ghosts[i];
		if (ghost->f->st.st_dev == f->st.st_dev && ghost->f->st.st_ino == f->st.st_ino) {
			*id = ghost->id;
			return R_OK;
		}
	}
	if (grow(&take->ghosts, take->n_ghosts, &take->room_ghosts, sizeof(*ghost)) != R_OK)
		return R_FAILED;
	*id = ghost_id(take, take->prepared, f->st.st_dev, f->st.st_ino);
	take->ghosts[take->n_ghosts++] = (struct ghost_taken){ .id = *id, .f = f, .clone = -1 };
	return R_OK;
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

/* Deleted under this name, alive under another. */
static int take_linked(struct fds_take *take, struct taken_file *f, const char *name)
{
	char sibling[PATH_MAX];
	uint32_t other;

	if (find_sibling(f, name, sibling, sizeof(sibling)) != R_OK) {
		if (ghost_link_take(take, f) == R_OK)
			return R_OK;
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

int path_take(struct fds_take *take, struct taken_file *f, const char **name)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(f->link), mark_len = sizeof(mark) - 1;
	struct stat st;
	uint32_t ghost;
	char *bare;
	int rc;

	*name = f->link;
	rc = f->link[0] == '/' ? lstat(f->link, &st) : -1;
	if (rc == 0 && st.st_ino == f->st.st_ino && st.st_dev == f->st.st_dev)
		return R_OK;
	if (f->link[0] == '/' && rc != 0 && errno == EACCES) {
		warn_errno("%s: its path", taken_file_name(f));
		return R_UNSUPPORTED;
	}
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
	if (f->st.st_nlink > 0 && !S_ISDIR(f->st.st_mode))
		return take_linked(take, f, bare);
	if (ghost_note(take, f, &ghost) != R_OK)
		return R_FAILED;
	put_remap(take, f->id, ghost, REMAP_TYPE__GHOST);
	return R_OK;
}
