/* The contents of files put back, and who else holds them. */
#include "engine/proc/files/back_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/warn.h"

#define RUN_PAGES 512

struct writing {
	struct back *back;
	const SnapDataEntry *entry;
	int fd;
	uint64_t done; /* bytes up to here are as they shall be */
	bool over;     /* there is something in the file already */
};

/* Makes a range read as zeroes, without room on disk where that can be. */
static int clear_range(const struct writing *w, uint64_t from, uint64_t to)
{
	static const char zeroes[64 << 10];

	if (!w->over || from >= to)
		return R_OK;
	if (fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
		      (off_t)(to - from)) == 0)
		return R_OK;
	while (from < to) {
		size_t n = to - from < sizeof(zeroes) ? (size_t)(to - from) : sizeof(zeroes);

		if (io_pwrite_all(w->fd, zeroes, n, (off_t)from) != R_OK)
			return R_FAILED;
		from += n;
	}
	return R_OK;
}

static int write_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	static _Alignas(PAGE_BYTES) char pages[RUN_PAGES * PAGE_BYTES];
	struct writing *w = arg;
	uint64_t at = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	page_no bad;

	if (n > RUN_PAGES || at >= w->entry->size)
		return R_DAMAGED;
	if (store_read_pages(w->back->view, numbers, n, pages, &bad) != R_OK)
		return R_DAMAGED;
	if (bytes > w->entry->size - at)
		bytes = w->entry->size - at;
	if (clear_range(w, w->done, at) != R_OK ||
	    io_pwrite_all(w->fd, pages, bytes, (off_t)at) != R_OK)
		return R_FAILED;
	w->done = at + bytes;
	if (progress_tell(w->back->progress, "putting files back", w->done, w->entry->size,
			  PROGRESS_BYTES))
		return R_OK;
	errno = EINTR;
	return R_FAILED;
}

int back_contents(struct back *back, const SnapDataEntry *entry, int fd)
{
	struct writing w = { .back = back, .entry = entry, .fd = fd };
	struct object object;
	struct stat st;
	int rc = store_object(back->view, back->generation, entry->object, &object);

	w.over = fstat(fd, &st) == 0 && st.st_size > 0;
	if (rc == R_OK)
		rc = store_object_walk(back->view, &object, 0, UINT64_MAX, write_run, &w);
	if (rc == R_OK && (clear_range(&w, w.done, entry->size) != R_OK ||
			   ftruncate(fd, (off_t)entry->size) != 0))
		rc = R_FAILED;
	if (rc == R_OK)
		return R_OK;
	if (rc == R_FAILED)
		warn_errno("%s: cannot be written", entry->path);
	else
		warn("generation %llu: the contents of %s are damaged; run 'snap verify --data'",
		     (unsigned long long)back->generation, entry->path);
	return rc == R_FAILED ? rc : R_DAMAGED;
}

static void add_held(struct back *back, size_t *room, uint64_t dev, uint64_t ino)
{
	if (back->n_held == *room) {
		size_t more = *room ? 2 * *room : 1024;
		void *list = realloc(back->held, more * sizeof(*back->held));

		if (!list)
			return;
		back->held = list;
		*room = more;
	}
	back->held[back->n_held][0] = dev;
	back->held[back->n_held++][1] = ino;
}

static void look_at_fds(struct back *back, size_t *room, int proc, const char *pid)
{
	struct dirent *entry;
	char path[300];
	struct stat st;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			add_held(back, room, st.st_dev, st.st_ino);
	closedir(dir);
}

static void look_at_maps(struct back *back, size_t *room, int proc, const char *pid)
{
	char path[300], *text, *line, *save = NULL;
	size_t len;

	snprintf(path, sizeof(path), "%s/maps", pid);
	if (io_read_file(proc, path, 64u << 20, &text, &len) != R_OK)
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned int major_no, minor_no;
		unsigned long long ino;

		if (sscanf(line, "%*s %*s %*s %x:%x %llu", &major_no, &minor_no, &ino) == 3 && ino)
			add_held(back, room, makedev(major_no, minor_no), ino);
	}
	free(text);
}

static int order_held(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	if (x[1] != y[1])
		return x[1] < y[1] ? -1 : 1;
	return x[0] < y[0] ? -1 : x[0] > y[0];
}

static void look_around(struct back *back)
{
	struct dirent *entry;
	size_t room = 0;
	DIR *dir = opendir("/proc");

	back->looked = true;
	while (dir && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid())
			continue;
		look_at_fds(back, &room, dirfd(dir), entry->d_name);
		look_at_maps(back, &room, dirfd(dir), entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (back->n_held)
		qsort(back->held, back->n_held, sizeof(*back->held), order_held);
}

bool back_is_held(struct back *back, const struct stat *st)
{
	const uint64_t want[2] = { st->st_dev, st->st_ino };

	if (st->st_nlink > 1)
		return true;
	if (!back->looked)
		look_around(back);
	return back->n_held &&
	       bsearch(want, back->held, back->n_held, sizeof(*back->held), order_held);
}
