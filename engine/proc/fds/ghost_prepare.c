/*
 * Reading large deleted files while the tree still runs.
 *
 * The file is flushed, then asked for its times, then read.  From the flush on its pages are
 * write-protected in every mapping, so that each later write, whichever way, changes the times: if
 * they are the same when the tree stands still, what was read is what the file holds.  Otherwise it
 * is read again then, and most of its pages are found to be stored.
 */
#include "engine/proc/fds/ghost_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/procfs.h"
#include "engine/proc/stat.h"

/* What is smaller is read within a fraction of a millisecond. */
#define READ_MIN_BYTES (256u << 10)
/* A time younger than a tick may stand for several changes. */
#define SETTLE_NS 25000000

static bool is_deleted(const char *link)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(link), mark_len = sizeof(mark) - 1;

	return link[0] == '/' && len > mark_len && strcmp(link + len - mark_len, mark) == 0;
}

/* Has anybody a lease on it?  Opening it would break that. */
static bool is_leased(ino_t ino)
{
	char *text, needle[32];
	bool leased = false;
	char *rest;
	size_t len;

	if (io_read_file(AT_FDCWD, "/proc/locks", 16u << 20, &text, &len) != R_OK)
		return true;
	snprintf(needle, sizeof(needle), ":%llu ", (unsigned long long)ino);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		leased = leased || (strstr(line, " LEASE ") && strstr(line, needle));
	free(text);
	return leased;
}

static bool is_read(const struct fds_prepared *prepared, const struct stat *st)
{
	for (size_t i = 0; i < prepared->n_reads; i++)
		if (prepared->reads[i].st.st_ino == st->st_ino &&
		    prepared->reads[i].st.st_dev == st->st_dev)
			return true;
	return false;
}

/* Stats it until its time of change is settled, once more if need be. */
static int stat_settled(int fd, enum extents_means means, struct ghost_read *read)
{
	static const struct timespec pause = { 0, SETTLE_NS };

	for (int i = 0; i < 2; i++) {
		if (fstat(fd, &read->st) != 0)
			return R_FAILED;
		read->settled = ghost_settled(&read->st, means);
		if (read->settled || means != EXTENTS_FIEMAP)
			break;
		nanosleep(&pause, NULL);
	}
	return R_OK;
}

/* R_NOT_FOUND: better left to when the tree stands still. */
static int plan_read(struct fds_prepared *prepared, int fd, struct ghost_read *read)
{
	if (contents_plan(fd, (uint64_t)read->st.st_size, true, &read->plan) != R_OK)
		return R_FAILED;
	if (stat_settled(fd, read->plan.means, read) != R_OK)
		return R_NOT_FOUND;
	if (read->settled)
		return R_OK;
	/* It will be read again; but most of its pages are known then, which they are already if
	 * the last generation has it. */
	for (size_t i = 0; i < prepared->n_old; i++)
		if (prepared->old[i]->id == read->id)
			return R_NOT_FOUND;
	return R_OK;
}

/* `path` is a magic link to an inode without a name. */
static int read_file(struct ingest *ingest, struct fds_prepared *prepared, const char *path)
{
	struct ghost_read read = { .settled = false };
	struct timespec btime;
	char name[32];
	int fd, result;

	if (stat(path, &read.st) != 0 || !S_ISREG(read.st.st_mode) || read.st.st_nlink > 0 ||
	    (uint64_t)read.st.st_blocks * 512 < READ_MIN_BYTES || is_read(prepared, &read.st) ||
	    is_leased(read.st.st_ino))
		return R_OK;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return R_OK;
	btime = ghost_btime(fd);
	close(fd);
	read.id = ghost_id(NULL, prepared, read.st.st_dev, read.st.st_ino);
	if (ghost_known(prepared, read.id, &read.st, &btime))
		return R_OK;
	fd = open(path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return R_OK; /* what is wrong with it is said when the tree stands still */
	result = plan_read(prepared, fd, &read);
	if (result == R_OK)
		result =
		    grow(&prepared->reads, prepared->n_reads, &prepared->room_reads, sizeof(read));
	if (result == R_OK) {
		ghost_object_name(name, read.id);
		result = contents_put(ingest, name, fd, &read.plan);
		prepared->reads[prepared->n_reads++] = read;
	} else {
		contents_plan_free(&read.plan);
	}
	close(fd);
	return result == R_NOT_FOUND ? R_OK : result;
}

static int read_descriptors(struct ingest *ingest, struct fds_prepared *prepared, pid_t pid)
{
	char path[300], link[4096];
	struct dirent *entry;
	int result = R_OK;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && result == R_OK && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (len < 0)
			continue;
		link[len] = '\0';
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, entry->d_name);
		if (is_deleted(link))
			result = read_file(ingest, prepared, path);
	}
	if (dir)
		closedir(dir);
	return result;
}

static int read_mappings(struct ingest *ingest, struct fds_prepared *prepared, pid_t pid)
{
	char *text, *rest, path[96];
	unsigned long long start, end;
	int result = R_OK;

	if (procfs_read(pid, 0, "maps", &text, NULL) != R_OK)
		return R_OK;
	for (char *line = strtok_r(text, "\n", &rest), *name; line && result == R_OK;
	     line = strtok_r(NULL, "\n", &rest)) {
		name = strchr(line, '/');
		if (!name || !is_deleted(name) || sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)pid, start, end);
		result = read_file(ingest, prepared, path);
	}
	free(text);
	return result;
}

/* A task and all below it.  Whatever comes or goes meanwhile is met when the tree stands still. */
static int read_tasks(struct ingest *ingest, struct fds_prepared *prepared, pid_t pid)
{
	pid_t *threads, *children;
	size_t n_threads, n;
	int result = read_descriptors(ingest, prepared, pid);

	if (result == R_OK)
		result = read_mappings(ingest, prepared, pid);
	if (result != R_OK)
		return result;
	if (proc_threads(pid, &threads, &n_threads) != R_OK)
		return R_OK;
	for (size_t i = 0; result == R_OK && i < n_threads; i++) {
		if (proc_children(pid, threads[i], &children, &n) != R_OK)
			continue;
		for (size_t k = 0; result == R_OK && k < n; k++)
			result = read_tasks(ingest, prepared, children[k]);
		free(children);
	}
	free(threads);
	return result;
}

/* What the newest generation knew of its ghosts. */
static int read_old(struct ingest *ingest, struct fds_prepared *prepared)
{
	const char *name = image_kind(IMAGE_SNAP_GHOSTS)->name;
	struct image_reader reader;
	ProtobufCMessage *message;
	int result = R_OK;
	void *data;
	size_t len;

	if (ingest_read_newest(ingest, name, &data, &len) != R_OK)
		return R_OK;
	if (image_open(&reader, IMAGE_SNAP_GHOSTS, name, data, len) == R_OK) {
		while (result == R_OK && image_next(&reader, &message) == R_OK) {
			result = grow(&prepared->old, prepared->n_old, &prepared->room_old,
				      sizeof(*prepared->old));
			if (result == R_OK)
				prepared->old[prepared->n_old++] = (SnapGhostEntry *)message;
			else
				image_free_message(message);
		}
	}
	free(data);
	return result;
}

int fds_carry_ghosts(struct ingest *ingest)
{
	struct fds_prepared *prepared = calloc(1, sizeof(*prepared));
	struct image_writer image;
	char name[32];
	int result = prepared ? read_old(ingest, prepared) : R_FAILED;

	image_writer_init(&image, IMAGE_SNAP_GHOSTS);
	for (size_t i = 0; result == R_OK && i < prepared->n_old; i++) {
		SnapGhostEntry *old = prepared->old[i];

		ghost_object_name(name, old->id);
		if (old->settled && object_same(ingest, name, old->size, 0) == R_OK)
			image_add(&image, &old->base);
	}
	if (result == R_OK)
		result = image_finish(&image);
	if (result == R_OK && image.entries)
		result = object_put(ingest, image.kind->name, image.data, image.len);
	image_writer_free(&image);
	fds_prepared_end(prepared);
	return result == R_OK ? R_OK : R_FAILED;
}

int fds_prepare(struct ingest *ingest, pid_t root, struct fds_prepared **prepared)
{
	int result;

	*prepared = calloc(1, sizeof(**prepared));
	if (!*prepared) {
		warn("no memory to look at deleted files; free some and try again");
		return R_FAILED;
	}
	result = read_old(ingest, *prepared);
	return result == R_OK ? read_tasks(ingest, *prepared, root) : result;
}

void fds_prepared_end(struct fds_prepared *prepared)
{
	if (!prepared)
		return;
	for (size_t i = 0; i < prepared->n_old; i++)
		image_free_message(&prepared->old[i]->base);
	for (size_t i = 0; i < prepared->n_reads; i++)
		contents_plan_free(&prepared->reads[i].plan);
	free(prepared->old);
	free(prepared->reads);
	free(prepared);
}
