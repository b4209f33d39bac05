#include "engine/proc/files/back_left.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/files/back_internal.h"

#define PREFIX ".snap-"
/* Of a file that somebody else may just be asking about. */
#define LOCK_TRIES 8

struct left {
	uint64_t id;
	bool is_lock;
	unsigned int file, serial;
};

static unsigned int hash_of(const char *target)
{
	return (unsigned int)XXH3_64bits(target, strlen(target));
}

static void lock_name(uint64_t id, char name[BACK_NAME_BYTES])
{
	snprintf(name, BACK_NAME_BYTES, PREFIX "%016" PRIx64, id);
}

/* Reads a name; only as it is written here. */
static bool parse(const char *name, struct left *left)
{
	char again[BACK_NAME_BYTES];
	int n = sscanf(name, PREFIX "%16" SCNx64 "-%x-%u", &left->id, &left->file, &left->serial);

	left->is_lock = n == 1;
	if (left->is_lock)
		lock_name(left->id, again);
	else if (n == 3)
		snprintf(again, sizeof(again), PREFIX "%016" PRIx64 "-%x-%u", left->id, left->file,
			 left->serial);
	else
		return false;
	return strcmp(again, name) == 0;
}

bool back_left_is_name(const char *name)
{
	struct left left;

	return parse(name, &left);
}

/* ---- a restore at work ---- */

static bool has_lock_in(const struct back_names *names, const char *folder)
{
	/* Mostly the one it was last. */
	for (size_t i = names->n; i-- > 0;)
		if (strcmp(names->folders[i], folder) == 0)
			return true;
	return false;
}

/* Makes the file and locks it; whoever asks about it in between may take it for left and remove it.
 * A descriptor, or -1 with errno. */
static int make_lock(int dir, const char *name)
{
	static const struct timespec pause = { 0, 10000000 };
	struct stat st;
	int fd;

	for (int i = 0; i < LOCK_TRIES; i++) {
		fd = openat(dir, name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
			return fd;
		close(fd);
		nanosleep(&pause, NULL);
	}
	errno = EAGAIN;
	return -1;
}

/* A link to one of the same file system is as good as one of its own, and needs no descriptor. */
static bool link_lock(const struct back_names *names, int dir, const char *name)
{
	char path[64];

	for (size_t i = 0; i < names->n_locks; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", names->locks[i]);
		/* The same folder by another path has it already. */
		if (linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST)
			return true;
	}
	return false;
}

static int more_room(struct back_names *names)
{
	size_t room = names->room ? 2 * names->room : 16;
	char **folders = realloc(names->folders, room * sizeof(*folders));
	int *locks;

	if (folders)
		names->folders = folders;
	locks = folders ? realloc(names->locks, room * sizeof(*locks)) : NULL;
	if (!locks) {
		warn("out of memory");
		return R_FAILED;
	}
	names->locks = locks;
	names->room = room;
	return R_OK;
}

static int lock_folder(struct back_names *names, int dir, const char *folder)
{
	char name[BACK_NAME_BYTES], *copy;
	int fd = -1;

	if (names->n == names->room && more_room(names) != R_OK)
		return R_FAILED;
	copy = strdup(folder);
	if (!copy) {
		warn("out of memory");
		return R_FAILED;
	}
	lock_name(names->id, name);
	if (!link_lock(names, dir, name)) {
		fd = make_lock(dir, name);
		if (fd < 0) {
			warn_errno("%s: cannot make and lock a file there, to put others back",
				   folder);
			free(copy);
			return R_FAILED;
		}
		names->locks[names->n_locks++] = fd;
	}
	names->folders[names->n++] = copy;
	return R_OK;
}

int back_names_new(struct back_names *names, int dir, const char *folder, const char *target,
		   char name[BACK_NAME_BYTES])
{
	while (names->id == 0)
		if (getrandom(&names->id, sizeof(names->id), 0) != sizeof(names->id)) {
			warn_errno("cannot get a random number");
			return R_FAILED;
		}
	if (!has_lock_in(names, folder) && lock_folder(names, dir, folder) != R_OK)
		return R_FAILED;
	snprintf(name, BACK_NAME_BYTES, PREFIX "%016" PRIx64 "-%x-%u", names->id, hash_of(target),
		 names->serial++);
	return R_OK;
}

void back_names_end(struct back_names *names)
{
	char name[BACK_NAME_BYTES];

	lock_name(names->id, name);
	for (size_t i = 0; i < names->n; i++) {
		int dir = back_open_folder(names->folders[i]);

		if (dir >= 0) {
			unlinkat(dir, name, 0);
			close(dir);
		}
		free(names->folders[i]);
	}
	for (size_t i = 0; i < names->n_locks; i++)
		close(names->locks[i]);
	free(names->folders);
	free(names->locks);
	memset(names, 0, sizeof(*names));
}

/* ---- one that is gone ---- */

/* Not known is as good as live. */
static bool is_live(int dir, uint64_t id)
{
	char name[BACK_NAME_BYTES];
	bool live;
	int fd;

	lock_name(id, name);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno != ENOENT;
	live = flock(fd, LOCK_EX | LOCK_NB) != 0;
	close(fd);
	return live;
}

bool back_left_is_live(int dir, const char *name)
{
	struct left left;

	return parse(name, &left) && is_live(dir, left.id);
}

/* Calls `fn` for each such name in the folder `dir`. */
static void each_left(int dir,
		      void (*fn)(int dir, const char *name, const struct left *left, void *arg),
		      void *arg)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *member;
	struct left left;

	if (copy >= 0 && !list)
		close(copy);
	while (list && (member = readdir(list)))
		if (parse(member->d_name, &left))
			fn(dir, member->d_name, &left, arg);
	if (list)
		closedir(list);
}

struct removing {
	unsigned int file;
	size_t removed;
};

/* Folders are moved aside by restores of whole folders only, which clear them. */
static void remove_one(int dir, const char *name, const struct left *left, void *arg)
{
	struct removing *removing = arg;

	if (!left->is_lock && left->file == removing->file && !is_live(dir, left->id) &&
	    unlinkat(dir, name, 0) == 0)
		removing->removed++;
}

struct counting {
	uint64_t id;
	bool used;
};

static void look_for_use(int dir, const char *name, const struct left *left, void *arg)
{
	struct counting *counting = arg;

	(void)dir;
	(void)name;
	counting->used |= !left->is_lock && left->id == counting->id;
}

/* What is locked by nobody and stands for nothing any more. */
static void remove_lock(int dir, const char *name, const struct left *left, void *arg)
{
	struct counting counting = { .id = left->id };

	(void)arg;
	if (!left->is_lock || is_live(dir, left->id))
		return;
	each_left(dir, look_for_use, &counting);
	if (!counting.used)
		unlinkat(dir, name, 0);
}

size_t back_left_remove(int dir, const char *target)
{
	struct removing removing = { .file = hash_of(target) };

	each_left(dir, remove_one, &removing);
	each_left(dir, remove_lock, NULL);
	return removing.removed;
}
