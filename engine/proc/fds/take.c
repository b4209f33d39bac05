/* The registry of a take: which descriptors share a description, and what goes into the images. */
#include "engine/proc/fds/fds_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"

/* Read while the target is frozen, at some GB/s: about 50 ms. */
#define GHOST_MAX_BYTES (64u << 20)

int grow(void *array_pointer, size_t n, size_t *room, size_t size)
{
	void **array = array_pointer;
	size_t want = *room ? *room * 2 : 16;
	void *more;

	if (n < *room)
		return R_OK;
	more = realloc(*array, want * size);
	if (!more) {
		warn("no memory for a list of %zu files; free some and try again", want);
		return R_FAILED;
	}
	*array = more;
	*room = want;
	return R_OK;
}

int fds_take_begin(struct ingest *ingest, uint64_t ghost_max_bytes, struct fds_take **take)
{
	struct rlimit limit;

	*take = calloc(1, sizeof(**take));
	if (!*take) {
		warn("no memory to look at open files; free some and try again");
		return R_FAILED;
	}
	(*take)->ingest = ingest;
	(*take)->ghost_max_bytes = ghost_max_bytes;
	/* We hold one descriptor for each open file of the whole tree. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return R_OK;
}

void *fds_take_alloc(struct fds_take *take, size_t bytes)
{
	struct arena_block *block = calloc(1, sizeof(*block) + bytes);

	if (!block) {
		warn("no memory for %zu bytes about open files; free some and try again", bytes);
		return NULL;
	}
	block->next = take->arena;
	take->arena = block;
	return block->data;
}

char *fds_take_strdup(struct fds_take *take, const char *text)
{
	char *copy = fds_take_alloc(take, strlen(text) + 1);

	if (copy)
		strcpy(copy, text);
	return copy;
}

struct ingest *fds_take_ingest(struct fds_take *take)
{
	return take->ingest;
}

uint64_t fds_take_ghost_max(struct fds_take *take)
{
	return take->ghost_max_bytes ? take->ghost_max_bytes : GHOST_MAX_BYTES;
}

uint32_t fds_take_inode_id(struct fds_take *take, const char *what, dev_t dev, ino_t ino,
			   bool *fresh)
{
	struct inode_id *known = take->inodes;

	*fresh = false;
	for (size_t i = 0; i < take->n_inodes; i++, known++) {
		if (known->ino == ino && known->dev == dev && strcmp(known->what, what) == 0)
			return known->id;
	}
	*fresh = true;
	if (grow(&take->inodes, take->n_inodes, &take->room_inodes, sizeof(*known)) != R_OK) {
		take->result = R_FAILED;
		return 0;
	}
	known = &take->inodes[take->n_inodes++];
	*known = (struct inode_id){ what, dev, ino, (uint32_t)take->n_inodes };
	return known->id;
}

void fds_take_put(struct fds_take *take, enum image_kind_id image, const ProtobufCMessage *entry,
		  const void *payload, size_t payload_bytes)
{
	if (!take->image_used[image]) {
		image_writer_init(&take->images[image], image);
		take->image_used[image] = true;
	}
	image_add(&take->images[image], entry);
	image_add_payload(&take->images[image], payload, payload_bytes);
}

static int put_image(struct fds_take *take, struct image_writer *image, const char *name)
{
	int result = image_finish(image);

	if (result == R_OK && take->ingest)
		result = object_put(take->ingest, name, image->data, image->len);
	image_writer_free(image);
	return result;
}

int fds_take_put_one(struct fds_take *take, enum image_kind_id image, uint32_t number,
		     const ProtobufCMessage *entry)
{
	struct image_writer writer;
	char name[64];

	/* CRIU writes the numbers of these two in hexadecimal. */
	if (image == IMAGE_GHOST_FILE || image == IMAGE_TCP_STREAM)
		snprintf(name, sizeof(name), "%s-%x", image_kind(image)->name, number);
	else
		snprintf(name, sizeof(name), "%s-%u", image_kind(image)->name, number);
	image_writer_init(&writer, image);
	image_add(&writer, entry);
	return put_image(take, &writer, name);
}

/* Orders (pid1, a) before (-1), as (0) or behind (1) (pid2, b); 2 if the kernel will not say. */
static int kcmp_order(pid_t pid1, pid_t pid2, int type, unsigned long a, unsigned long b)
{
	long order = syscall(SYS_kcmp, pid1, pid2, type, a, b);

	if (order < 0 || order > 2) {
		warn_errno("kcmp of pid %d (%lu) and pid %d (%lu)", (int)pid1, a, (int)pid2, b);
		return 2;
	}
	return order == 0 ? 0 : order == 1 ? -1 : 1;
}

/* Where (pid, fd) is in by_kcmp, or belongs.  R_OK (there), R_NOT_FOUND, R_FAILED. */
static int search_file(struct fds_take *take, pid_t pid, int fd, size_t *at)
{
	size_t low = 0, high = take->n_by_kcmp;
	pid_t self = getpid();

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = kcmp_order(pid, self, KCMP_FILE, (unsigned long)fd,
				       (unsigned long)take->by_kcmp[mid]->local);

		if (order == 2)
			return R_FAILED;
		if (order == 0) {
			*at = mid;
			return R_OK;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	*at = low;
	return R_NOT_FOUND;
}

struct taken_file *fds_take_find(struct fds_take *take, pid_t pid, int fd)
{
	size_t at;

	return search_file(take, pid, fd, &at) == R_OK ? take->by_kcmp[at] : NULL;
}

struct taken_file *fds_take_find_local(struct fds_take *take, int local)
{
	return fds_take_find(take, getpid(), local);
}

/* Remembers the worst: a failure over a refusal over nothing. */
static int note_result(struct fds_take *take, int result)
{
	if (result != R_OK && take->result != R_FAILED)
		take->result = result;
	return result;
}

static int dump_file(struct fds_take *take, struct taken_file *f)
{
	file_entry__init(&f->entry);
	f->entry.id = f->id;
	for (size_t i = 0; fd_kinds[i]; i++) {
		if (!fd_kinds[i]->probe(f))
			continue;
		f->kind = fd_kinds[i];
		f->entry.type = f->kind->type;
		return f->kind->dump(take, f);
	}
	if (S_ISSOCK(f->st.st_mode))
		warn("%s: sockets of this family cannot be snapshotted", taken_file_name(f));
	else
		warn("%s: files of this kind cannot be snapshotted", taken_file_name(f));
	return R_UNSUPPORTED;
}

/* Adds a file whose local, pid and fd are given, looks at it and dumps it.  Takes over `local`. */
static int add_file(struct fds_take *take, const struct taken_file *model, struct taken_file **out)
{
	struct taken_file *f;

	if (grow(&take->files, take->n_files, &take->room_files, sizeof(*take->files)) != R_OK ||
	    !(f = fds_take_alloc(take, sizeof(*f)))) {
		close(model->local);
		return note_result(take, R_FAILED);
	}
	*f = *model;
	f->id = (uint32_t)take->n_files + 1;
	take->files[take->n_files++] = f;
	if (out)
		*out = f;
	return taken_file_look(take, f);
}

static int add_description(struct fds_take *take, pid_t pid, int fd, int local, size_t at,
			   struct taken_file **out)
{
	struct taken_file model = { .pid = pid, .fd = fd, .local = local };

	if (grow(&take->by_kcmp, take->n_by_kcmp, &take->room_by_kcmp, sizeof(*out)) != R_OK) {
		close(local);
		return note_result(take, R_FAILED);
	}
	if (add_file(take, &model, out) != R_OK)
		return note_result(take, R_FAILED);
	memmove(take->by_kcmp + at + 1, take->by_kcmp + at,
		(take->n_by_kcmp - at) * sizeof(*take->by_kcmp));
	take->by_kcmp[at] = *out;
	take->n_by_kcmp++;
	return note_result(take, dump_file(take, *out));
}

int fds_register_local(struct fds_take *take, int local, uint32_t *id)
{
	struct taken_file *f = NULL;
	size_t at;
	int result = search_file(take, getpid(), local, &at);

	if (result == R_OK) {
		*id = take->by_kcmp[at]->id;
		close(local);
		return R_OK;
	}
	if (result != R_NOT_FOUND) {
		close(local);
		return note_result(take, result);
	}
	result = add_description(take, 0, -1, local, at, &f);
	if (f)
		*id = f->id;
	return result;
}

/* Registers one descriptor and fills its row of the table. */
static int take_fd(struct fds_take *take, pid_t pid, int fd, FdinfoEntry *row)
{
	struct taken_file *f = NULL;
	char path[64], *info;
	const char *value;
	size_t at, len;
	int local, result;

	fdinfo_entry__init(row);
	row->fd = (uint32_t)fd;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	if (io_read_file(AT_FDCWD, path, 64u << 20, &info, &len) != R_OK) {
		warn_errno("pid %d fd %d: cannot read %s", (int)pid, fd, path);
		return note_result(take, R_FAILED);
	}
	value = fdinfo_value(info, "flags");
	if (value && (strtoul(value, NULL, 8) & O_CLOEXEC))
		row->flags = FD_CLOEXEC;

	result = search_file(take, pid, fd, &at);
	if (result == R_OK) {
		f = take->by_kcmp[at];
	} else if (result == R_NOT_FOUND) {
		local = fds_open_target(pid, fd);
		if (local < 0)
			warn_errno("pid %d fd %d: cannot get it", (int)pid, fd);
		else
			result = add_description(take, pid, fd, local, at, &f);
	}
	if (f) {
		row->id = f->id;
		row->type = f->entry.type;
		if (result == R_OK)
			result = locks_note(take, f, pid, fd, info);
	} else {
		result = R_FAILED;
	}
	free(info);
	return note_result(take, result);
}

/* The numbers of the entries of a /proc directory, ascending. */
static int list_numbers(pid_t pid, const char *what, int **numbers, size_t *n)
{
	char path[64];
	struct dirent *entry;
	size_t room = 0;
	DIR *dir;

	*numbers = NULL;
	*n = 0;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	if (!dir) {
		warn_errno("cannot list %s", path);
		return R_FAILED;
	}
	while ((entry = readdir(dir))) {
		size_t at = *n;
		int number;

		if (entry->d_name[0] == '.')
			continue;
		if (grow(numbers, *n, &room, sizeof(**numbers)) != R_OK) {
			closedir(dir);
			free(*numbers);
			return R_FAILED;
		}
		number = atoi(entry->d_name);
		/* /proc lists them in order but for tasks that came meanwhile. */
		for (; at > 0 && (*numbers)[at - 1] > number; at--)
			(*numbers)[at] = (*numbers)[at - 1];
		(*numbers)[at] = number;
		(*n)++;
	}
	closedir(dir);
	return R_OK;
}

int fds_take_twin(struct fds_take *take, const struct taken_file *f, const struct fd_kind *kind,
		  uint32_t *id)
{
	struct taken_file model = *f, *twin;

	model.local = fcntl(f->local, F_DUPFD_CLOEXEC, 0);
	if (model.local < 0) {
		warn_errno("%s: no descriptor for it", taken_file_name(f));
		return note_result(take, R_FAILED);
	}
	if (add_file(take, &model, &twin) != R_OK)
		return note_result(take, R_FAILED);
	*id = twin->id;
	twin->kind = kind;
	file_entry__init(&twin->entry);
	twin->entry.id = twin->id;
	twin->entry.type = kind->type;
	return note_result(take, kind->dump(take, twin));
}

/* A thread with a descriptor table of its own (unshare(CLONE_FILES)) has no place in the images. */
static int check_threads(pid_t pid)
{
	int *tids, result = R_OK;
	size_t n;

	if (list_numbers(pid, "task", &tids, &n) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < n && result == R_OK; i++) {
		int order = tids[i] == pid ? 0 : kcmp_order(pid, tids[i], KCMP_FILES, 0, 0);

		if (order == 0)
			continue;
		if (order == 2) {
			result = R_FAILED;
			break;
		}
		warn("pid %d thread %d: has a descriptor table of its own, which cannot be "
		     "snapshotted",
		     (int)pid, tids[i]);
		result = R_UNSUPPORTED;
	}
	free(tids);
	return result;
}

static int search_table(struct fds_take *take, pid_t pid, size_t *at)
{
	size_t low = 0, high = take->n_tables;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = kcmp_order(pid, take->tables[mid].pid, KCMP_FILES, 0, 0);

		if (order == 2)
			return R_FAILED;
		if (order == 0) {
			*at = mid;
			return R_OK;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	*at = low;
	return R_NOT_FOUND;
}

static int take_rows(struct fds_take *take, pid_t pid, struct taken_table *table)
{
	int *fds, result = R_OK;

	if (list_numbers(pid, "fd", &fds, &table->n) != R_OK)
		return R_FAILED;
	table->entries = calloc(table->n + 1, sizeof(*table->entries));
	if (!table->entries) {
		warn("pid %d: no memory for its %zu descriptors", (int)pid, table->n);
		free(fds);
		return R_FAILED;
	}
	/* Go on after a refusal, so that every reason is named at once. */
	for (size_t i = 0; i < table->n && result != R_FAILED; i++) {
		int one = take_fd(take, pid, fds[i], &table->entries[i]);

		if (one != R_OK)
			result = one;
	}
	free(fds);
	return result;
}

int fds_take_task(struct fds_take *take, pid_t pid, uint32_t *files_id)
{
	struct taken_table table = { .pid = pid };
	size_t at;
	int result;

	if (grow(&take->pids, take->n_pids, &take->room_pids, sizeof(*take->pids)) != R_OK)
		return note_result(take, R_FAILED);
	take->pids[take->n_pids++] = pid;
	result = check_threads(pid);
	if (result != R_OK)
		return note_result(take, result);
	result = search_table(take, pid, &at);
	if (result == R_OK) {
		*files_id = take->tables[at].id;
		return R_OK;
	}
	if (result == R_FAILED ||
	    grow(&take->tables, take->n_tables, &take->room_tables, sizeof(table)) != R_OK)
		return note_result(take, R_FAILED);
	result = take_rows(take, pid, &table);
	table.id = (uint32_t)take->n_tables + 1;
	memmove(take->tables + at + 1, take->tables + at, (take->n_tables - at) * sizeof(table));
	take->tables[at] = table;
	take->n_tables++;
	*files_id = table.id;
	return note_result(take, result);
}

/* A mapping of something without a path, such as a socket, belongs to a description we know. */
static struct taken_file *find_inode(struct fds_take *take, const struct stat *st)
{
	for (size_t i = 0; i < take->n_by_kcmp; i++) {
		struct taken_file *f = take->by_kcmp[i];

		if (f->st.st_dev == st->st_dev && f->st.st_ino == st->st_ino)
			return f;
	}
	return NULL;
}

static struct taken_file *find_path_file(struct fds_take *take, const struct stat *st, int flags,
					 const char *link)
{
	for (size_t i = 0; i < take->n_files; i++) {
		struct taken_file *f = take->files[i];

		if (f->path_only && f->st.st_dev == st->st_dev && f->st.st_ino == st->st_ino &&
		    f->flags == (uint32_t)flags && strcmp(f->link, link) == 0)
			return f;
	}
	return NULL;
}

/* `pid` is for messages; `path` may be a magic link of /proc. */
static int register_path(struct fds_take *take, pid_t pid, const char *path, int flags,
			 uint32_t *id)
{
	struct taken_file model = { .pid = pid, .fd = -1, .path_only = true }, *f = NULL;
	char self[64], link[PATH_MAX];
	struct stat st;
	ssize_t len = -1;

	model.flags = (uint32_t)flags;
	model.local = open(path, O_PATH | O_CLOEXEC);
	if (model.local >= 0) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", model.local);
		len = readlink(self, link, sizeof(link) - 1);
	}
	if (len < 0 || fstat(model.local, &st) != 0) {
		warn_errno("pid %d: cannot open %s", (int)pid, path);
		if (model.local >= 0)
			close(model.local);
		return note_result(take, R_FAILED);
	}
	link[len] = '\0';
	f = S_ISSOCK(st.st_mode) ? find_inode(take, &st) : find_path_file(take, &st, flags, link);
	if (f) {
		close(model.local);
		*id = f->id;
		return R_OK;
	}
	if (add_file(take, &model, &f) != R_OK)
		return note_result(take, R_FAILED);
	*id = f->id;
	return note_result(take, dump_file(take, f));
}

int fds_register_path_file(struct fds_take *take, pid_t pid, const char *what, int flags,
			   uint32_t *id)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return register_path(take, pid, path, flags, id);
}

int fds_register_path(struct fds_take *take, const char *path, int flags, uint32_t *id)
{
	return register_path(take, 0, path, flags, id);
}

bool fds_take_has_pid(struct fds_take *take, pid_t pid)
{
	for (size_t i = 0; i < take->n_pids; i++) {
		if (take->pids[i] == pid)
			return true;
	}
	return false;
}

int fds_take_each(struct fds_take *take, int (*fn)(struct taken_file *f, void *arg), void *arg)
{
	/* Kinds may register more while we are at it, so the count is read each time. */
	for (size_t i = 0; i < take->n_files; i++) {
		int result = fn(take->files[i], arg);

		if (result)
			return result;
	}
	return 0;
}

static int put_tables(struct fds_take *take)
{
	int result = R_OK;

	for (size_t i = 0; i < take->n_tables && result == R_OK; i++) {
		struct taken_table *table = &take->tables[i];
		struct image_writer image;
		char name[32];

		if (table->n == 0)
			continue;
		snprintf(name, sizeof(name), "fdinfo-%u", table->id);
		image_writer_init(&image, IMAGE_FDINFO);
		for (size_t k = 0; k < table->n; k++)
			image_add(&image, &table->entries[k].base);
		result = put_image(take, &image, name);
	}
	return result;
}

int fds_take_finish(struct fds_take *take)
{
	for (size_t i = 0; fd_kinds[i]; i++) {
		if (fd_kinds[i]->dump_end)
			note_result(take, fd_kinds[i]->dump_end(take));
	}
	note_result(take, locks_take(take));
	if (take->result != R_OK)
		return take->result;
	for (size_t i = 0; i < take->n_files; i++)
		fds_take_put(take, IMAGE_FILES, &take->files[i]->entry.base, NULL, 0);
	note_result(take, put_tables(take));
	for (int i = 0; i < IMAGE_KINDS; i++) {
		if (take->image_used[i])
			note_result(take, put_image(take, &take->images[i],
						    image_kind((enum image_kind_id)i)->name));
		take->image_used[i] = false;
	}
	return take->result;
}

void fds_take_close(struct fds_take *take)
{
	fds_hold_end(fds_take_hold(take), false);
	for (size_t i = 0; i < take->n_files; i++) {
		if (take->files[i]->local >= 0)
			close(take->files[i]->local);
		take->files[i]->local = -1;
	}
}

void fds_take_end(struct fds_take *take)
{
	if (!take)
		return;
	fds_take_close(take);
	for (int i = 0; i < IMAGE_KINDS; i++) {
		if (take->image_used[i])
			image_writer_free(&take->images[i]);
	}
	for (size_t i = 0; i < take->n_tables; i++)
		free(take->tables[i].entries);
	while (take->arena) {
		struct arena_block *next = take->arena->next;

		free(take->arena);
		take->arena = next;
	}
	free(take->tables);
	free(take->files);
	free(take->by_kcmp);
	free(take->pids);
	free(take->inodes);
	free(take->locks);
	free(take);
}
