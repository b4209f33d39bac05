#include "engine/proc/files/data_ahead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/files/back_left.h"
#include "engine/proc/files/reflink.h"
#include "engine/proc/procfs.h"
#include "engine/proc/stat.h"

/* What is smaller is read within a fraction of a millisecond. */
#define READ_MIN_BYTES (256u << 10)
/* A time younger than a tick may stand for several changes; where times have no fraction, 2 s. */
#define TICK_NS 20000000ll
#define TICK_COARSE_NS 3000000000ll

struct ahead_file {
	struct stat st; /* before it was read */
	char *path;
	char object[BLOB_NAME_BYTES];
	bool there, used; /* the object */
};

struct data_ahead {
	struct ingest *ingest;
	const struct file_memory *memory;
	bool read_all;
	struct file_leases leases;
	struct ahead_file *files;
	size_t n, room;
	pid_t *tasks;
	size_t n_tasks, room_tasks;
	uint64_t *shared; /* inodes that the tree has mapped shared */
	size_t n_shared, room_shared;
};

static int more(void *list, size_t n, size_t *room, size_t size)
{
	void **array = list, *grown;
	size_t want = *room ? 2 * *room : 64;

	if (n < *room)
		return R_OK;
	grown = reallocarray(*array, want, size);
	if (!grown) {
		warn("no memory for a list of files; free some and try again");
		return R_FAILED;
	}
	*array = grown;
	*room = want;
	return R_OK;
}

/* A task and all below it.  Whatever comes or goes meanwhile is met when the tree stands still. */
static int list_tasks(struct data_ahead *a, pid_t pid)
{
	pid_t *threads, *children;
	size_t n_threads, n;
	int rc = more(&a->tasks, a->n_tasks, &a->room_tasks, sizeof(*a->tasks));

	if (rc != R_OK)
		return rc;
	a->tasks[a->n_tasks++] = pid;
	if (proc_threads(pid, &threads, &n_threads) != R_OK)
		return R_OK;
	for (size_t i = 0; rc == R_OK && i < n_threads; i++) {
		if (proc_children(pid, threads[i], &children, &n) != R_OK)
			continue;
		for (size_t k = 0; rc == R_OK && k < n; k++)
			rc = list_tasks(a, children[k]);
		free(children);
	}
	free(threads);
	return rc;
}

static int list_shared(struct data_ahead *a, pid_t pid)
{
	char *text, *rest, rights[8];
	unsigned long long ino;
	int rc = R_OK;

	if (procfs_read(pid, 0, "maps", &text, NULL) != R_OK)
		return R_OK;
	for (char *line = strtok_r(text, "\n", &rest); rc == R_OK && line;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "%*x-%*x %7s %*x %*x:%*x %llu", rights, &ino) != 2 || !ino ||
		    rights[3] != 's')
			continue;
		rc = more(&a->shared, a->n_shared, &a->room_shared, sizeof(*a->shared));
		if (rc == R_OK)
			a->shared[a->n_shared++] = ino;
	}
	free(text);
	return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool is_settled(const struct stat *st)
{
	struct timespec now;
	int64_t age;

	clock_gettime(CLOCK_REALTIME, &now);
	age = (now.tv_sec - st->st_ctim.tv_sec) * 1000000000ll + now.tv_nsec - st->st_ctim.tv_nsec;
	return age > (st->st_ctim.tv_nsec ? TICK_NS : TICK_COARSE_NS);
}

static bool is_known(const struct data_ahead *a, const struct stat *st)
{
	const SnapDataEntry *then = file_memory_data(a->memory, st->st_dev, st->st_ino);

	return !a->read_all && then && then->object && then->settled &&
	       then->size == (uint64_t)st->st_size && then->mtime_sec == st->st_mtim.tv_sec &&
	       then->mtime_nsec == (uint32_t)st->st_mtim.tv_nsec &&
	       then->ctime_sec == st->st_ctim.tv_sec &&
	       then->ctime_nsec == (uint32_t)st->st_ctim.tv_nsec;
}

static bool is_mapped_shared(const struct data_ahead *a, const struct stat *st)
{
	for (size_t i = 0; i < a->n_shared; i++)
		if (a->shared[i] == st->st_ino)
			return true;
	return false;
}

/* Will it have to be read, and is it large? */
static bool is_wanted(struct data_ahead *a, const struct stat *st)
{
	if (!S_ISREG(st->st_mode) || !st->st_nlink || st->st_size < READ_MIN_BYTES ||
	    (is_known(a, st) && !is_mapped_shared(a, st)))
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->files[i].st.st_ino == st->st_ino && a->files[i].st.st_dev == st->st_dev)
			return false;
	return !file_is_leased(&a->leases, (uint64_t)major(st->st_dev) << 32 | minor(st->st_dev),
			       st->st_ino);
}

/* Two paths of one hash: the second is left to when the tree stands still. */
static bool is_named(const struct data_ahead *a, const char *object)
{
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->files[i].object, object) == 0)
			return true;
	return false;
}

/* `path` names what `open_as` leads to. */
static int read_ahead(struct data_ahead *a, const char *path, const char *open_as)
{
	struct ahead_file file = { .there = true };
	struct stat after;
	int fd, rc;

	if (stat(open_as, &file.st) != 0 || !is_wanted(a, &file.st))
		return R_OK;
	/* What is wrong with it is said when the tree stands still. */
	fd = open(open_as, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EPERM)
		fd = open(open_as, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return R_OK;
	blob_name("data", path, 0, file.object);
	if (!is_settled(&file.st) || is_mapped_shared(a, &file.st) || is_named(a, file.object)) {
		/* Reading it proves nothing; but it may be cloned. */
		if (reflink_can(fd))
			reflink_flush(fd);
		close(fd);
		return R_OK;
	}
	rc = fstat(fd, &after) == 0 && same_file(&after, &file.st) ? R_OK : R_NOT_FOUND;
	if (rc == R_OK)
		rc = more(&a->files, a->n, &a->room, sizeof(*a->files));
	file.path = rc == R_OK ? strdup(path) : NULL;
	if (file.path) {
		a->files[a->n++] = file;
		rc = blob_store(a->ingest, file.object, fd, (uint64_t)file.st.st_size, NULL);
	} else if (rc == R_OK) {
		warn("out of memory");
		rc = R_FAILED;
	}
	close(fd);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

/* The regular files a task has open for writing: the link in /proc tells that by its mode. */
static int read_descriptors(struct data_ahead *a, pid_t pid)
{
	char path[300], link[PATH_MAX];
	struct dirent *entry;
	struct stat st;
	int rc = R_OK;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && rc == R_OK && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (len <= 0 || link[0] != '/' ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !(st.st_mode & S_IWUSR))
			continue;
		link[len] = '\0';
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, entry->d_name);
		rc = read_ahead(a, link, path);
	}
	if (dir)
		closedir(dir);
	return rc;
}

static int read_folder(struct data_ahead *a, const char *path)
{
	char real[PATH_MAX], *roots[] = { real, NULL };
	int rc = R_OK;
	FTSENT *at;
	FTS *fts;

	/* A folder that is not there is said when the tree stands still. */
	if (!realpath(path, real) ||
	    !(fts = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL)))
		return R_OK;
	while (rc == R_OK && (at = fts_read(fts)))
		if (at->fts_info == FTS_F && !back_left_is_name(at->fts_name))
			rc = read_ahead(a, at->fts_path, at->fts_path);
	fts_close(fts);
	return rc;
}

int data_ahead_read(struct ingest *ingest, pid_t root, const struct file_memory *memory,
		    const struct data_options *options, struct data_ahead **ahead)
{
	struct data_ahead *a = calloc(1, sizeof(*a));
	int rc = R_OK;

	*ahead = a;
	if (!a) {
		warn("no memory for a list of files; free some and try again");
		return R_FAILED;
	}
	a->ingest = ingest;
	a->memory = memory;
	a->read_all = options->read_all;
	rc = list_tasks(a, root);
	for (size_t i = 0; rc == R_OK && i < a->n_tasks; i++)
		rc = list_shared(a, a->tasks[i]);
	for (size_t i = 0; rc == R_OK && i < options->n_paths; i++)
		rc = read_folder(a, options->paths[i]);
	for (size_t i = 0; rc == R_OK && options->written && i < a->n_tasks; i++)
		rc = read_descriptors(a, a->tasks[i]);
	return rc;
}

void data_ahead_end(struct data_ahead *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n; i++)
		free(a->files[i].path);
	free(a->files);
	free(a->tasks);
	free(a->shared);
	free(a->leases.list);
	free(a);
}

static void drop(struct ahead_file *file, struct ingest *ingest)
{
	if (file->there)
		object_drop(ingest, file->object);
	file->there = false;
}

int data_ahead_check(struct data_ahead *a, struct ingest *ingest,
		     int (*fn)(const char *object, void *arg), void *arg)
{
	int rc = R_OK;

	for (size_t i = 0; a && rc == R_OK && i < a->n; i++) {
		struct ahead_file *file = &a->files[i];
		struct stat now;

		if (stat(file->path, &now) == 0 && same_file(&now, &file->st))
			rc = fn(file->object, arg);
		else
			drop(file, ingest);
	}
	return rc;
}

const char *data_ahead_use(struct data_ahead *a, const struct stat *st)
{
	for (size_t i = 0; a && i < a->n; i++) {
		struct ahead_file *file = &a->files[i];

		if (!file->there || file->used || !same_file(&file->st, st))
			continue;
		file->used = true;
		detail("%s: stored as it was read before the freeze", file->path);
		return file->object;
	}
	return NULL;
}

void data_ahead_drop(struct data_ahead *a, struct ingest *ingest)
{
	for (size_t i = 0; a && i < a->n; i++)
		if (!a->files[i].used)
			drop(&a->files[i], ingest);
}
