/*
 * Making an inode without a name again.
 *
 * It has to have had its old name once, so that links in /proc read as they did.  It is made under
 * a name that nothing else has (TEMPORARY and its number), marked by a time no file has, then
 * renamed, opened and deleted, all before anything is written to it.  A restore that is killed in
 * between leaves an empty inode which the next one knows by that name or mark, and removes.
 * Directories that are missing above it are made with a mode by which they are known.
 */
#include "engine/proc/fds/ghost_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ending.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define TEMPORARY ".snap-ghost-"
/* Of 1970, and a fraction nobody sets. */
#define MARK_SEC 1
#define MARK_NSEC 115110097
/* Of a directory that is only there for the moment. */
#define MOMENT_MODE 0300

/* A directory that a killed restore left. */
static bool is_left_directory(const struct stat *st)
{
	return S_ISDIR(st->st_mode) && (st->st_mode & 07777) == MOMENT_MODE &&
	       st->st_uid == geteuid();
}

/* Makes the directories above `name` that are missing; `made` of them, undone by prune_parents. */
static void make_parents(char *name, unsigned int *made)
{
	struct stat st;

	*made = 0;
	for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (lstat(name, &st) != 0 ? mkdir(name, MOMENT_MODE) == 0 : is_left_directory(&st))
			(*made)++;
		*slash = '/';
	}
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

static int remove_inode(mode_t mode, const char *name)
{
	return S_ISDIR(mode) ? rmdir(name) : unlink(name);
}

/* Makes an empty inode of the ghost's type under `name`, which must be free, and marks it. */
static int make_inode(const GhostFileEntry *entry, const char *name)
{
	static const struct timespec marks[2] = { { MARK_SEC, MARK_NSEC },
						  { MARK_SEC, MARK_NSEC } };
	mode_t type = entry->mode & S_IFMT;
	int result;

	switch (type) {
	case S_IFDIR:
		result = mkdir(name, 0700);
		break;
	case S_IFLNK:
		result = symlink(entry->symlnk_target ? entry->symlnk_target : "", name);
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFSOCK:
		result = mknod(name, type | 0600, entry->has_rdev ? entry->rdev : 0);
		break;
	default:
		errno = EINVAL;
		return -1;
	}
	return result == 0 ? utimensat(AT_FDCWD, name, marks, AT_SYMLINK_NOFOLLOW) : result;
}

/* Removes what a killed restore left under the ghost's own name. */
static bool remove_left(const GhostFileEntry *entry, const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0 && (st.st_mode & S_IFMT) == (entry->mode & S_IFMT) &&
	       st.st_mtim.tv_sec == MARK_SEC && st.st_mtim.tv_nsec == MARK_NSEC &&
	       (!S_ISREG(st.st_mode) || st.st_size == 0) && remove_inode(st.st_mode, name) == 0;
}

/* "name.snap-PID", in place of such an ending if it has one. */
static int name_beside(char *name, size_t size)
{
	char *end = strrchr(name, '.');
	size_t len = strlen(name);

	if (end && strncmp(end, ".snap-", 6) == 0 && isdigit((unsigned char)end[6]))
		len = (size_t)(end - name);
	return (size_t)snprintf(name + len, size - len, ".snap-%d", (int)getpid()) < size - len
		   ? R_OK
		   : R_FAILED;
}

/* Gives the inode `from` the name `name`, or one beside it that is then in `name`. */
static int give_name(const GhostFileEntry *entry, const char *from, char *name, size_t size)
{
	for (int i = 0; i < 3; i++) {
		if (io_rename_free(from, name) == 0)
			return R_OK;
		if (errno != EEXIST)
			return R_FAILED;
		if (!remove_left(entry, name) && name_beside(name, size) != R_OK) {
			errno = ENAMETOOLONG;
			return R_FAILED;
		}
	}
	return R_FAILED;
}

/* The whole life of a name.  Returns a descriptor of the nameless inode: for writing if it is a
 * file, otherwise of its path; -1 with errno set. */
static int open_once(struct ghost *ghost, char *name, size_t size)
{
	const GhostFileEntry *entry = ghost->entry;
	char temporary[PATH_MAX];
	const char *slash = strrchr(name, '/');
	int flags = S_ISREG(entry->mode) ? O_RDWR : O_PATH, fd = -1, saved;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%.*s" TEMPORARY "%x",
			     (int)(slash - name + 1), name, ghost->id) >= sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	remove_inode(entry->mode, temporary);
	if (make_inode(entry, temporary) != 0)
		return -1;
	if (give_name(entry, temporary, name, size) != R_OK) {
		saved = errno;
		remove_inode(entry->mode, temporary);
		errno = saved;
		return -1;
	}
	fd = open(name, flags | O_NOFOLLOW | O_CLOEXEC);
	saved = errno;
	if (remove_inode(entry->mode, name) != 0 && fd >= 0) {
		saved = errno;
		close(fd);
		fd = -1;
	}
	errno = saved;
	return fd;
}

/* Nothing is open for writing any more, which a program's file or a lease would not bear. */
static int open_path(struct fds_restore *restore, int fd)
{
	char path[64];
	int only_path;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	only_path = open(path, O_PATH | O_CLOEXEC);
	return only_path < 0 ? -1 : fds_restore_high(restore, only_path);
}

static int fill(struct fds_restore *restore, struct ghost *ghost, int fd)
{
	char object[32];

	ghost_object_name(object, ghost->id);
	ghost_early_flags(ghost);
	return contents_restore(restore, fd, object, ghost->entry->size, ghost->more);
}

int ghost_make(struct fds_restore *restore, struct ghost *ghost, const char *name)
{
	char path[PATH_MAX];
	unsigned int made;
	int fd, result = R_OK;

	if (name[0] != '/' || (size_t)snprintf(path, sizeof(path), "%s", name) >= sizeof(path)) {
		warn("%s: is no name to make a deleted file by", name);
		return R_FAILED;
	}
	/* Whoever wants to end us waits until the name is gone. */
	ending_hold();
	make_parents(path, &made);
	fd = open_once(ghost, path, sizeof(path));
	if (fd < 0)
		warn_errno("%s: cannot make it again as a deleted file", path);
	prune_parents(path, made);
	ending_allow();
	if (fd < 0)
		return R_FAILED;
	ghost->master = open_path(restore, fd);
	if (ghost->master < 0) {
		warn_errno("%s: no descriptor for the deleted file", path);
		result = R_FAILED;
	}
	if (result == R_OK && S_ISREG(ghost->entry->mode))
		result = fill(restore, ghost, fd);
	close(fd);
	return result == R_OK ? ghost_dress(ghost, path) : result;
}
