/* The files of a generation: reading their images, checking, opening all of them here. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/keys.h"
#include "store/store.h"

/* Our own descriptors below: standard ones, store, terminals, pidfds. */
#define FIRST_HIGH 256
/* Besides the files themselves: masters, queues, shared memory, channel. */
#define SPARE_HIGH 1024

const struct fd_kind *fd_kind_of(FdTypes type)
{
	for (size_t i = 0; fd_kinds[i]; i++) {
		if (fd_kinds[i]->type == type)
			return fd_kinds[i];
	}
	return NULL;
}

static int read_image(struct fds_restore *restore, const char *name, void **data, size_t *len)
{
	struct object object;
	int result = store_object(restore->view, restore->generation, name, &object);

	if (result == R_NOT_FOUND)
		return R_NOT_FOUND;
	if (result == R_OK)
		result = store_read_object(restore->view, &object, data, len);
	if (result != R_OK)
		warn("generation %llu: image %s cannot be read; run 'snap verify'",
		     (unsigned long long)restore->generation, name);
	return result == R_OK ? R_OK : R_DAMAGED;
}

static int keep_message(struct fds_restore *restore, ProtobufCMessage *message)
{
	if (grow(&restore->messages, restore->n_messages, &restore->room_messages,
		 sizeof(*restore->messages)) != R_OK) {
		image_free_message(message);
		return R_FAILED;
	}
	restore->messages[restore->n_messages++] = message;
	return R_OK;
}

static int each_of(struct fds_restore *restore, enum image_kind_id image, const char *name,
		   size_t (*payload_bytes)(const ProtobufCMessage *entry),
		   int (*fn)(struct fds_restore *restore, const ProtobufCMessage *entry,
			     const void *payload, size_t bytes))
{
	struct image_reader reader;
	ProtobufCMessage *message;
	void *data;
	size_t len;
	int result = read_image(restore, name, &data, &len);

	if (result != R_OK)
		return result == R_NOT_FOUND ? R_OK : result;
	result = image_open(&reader, image, name, data, len);
	while (result == R_OK) {
		const void *payload = NULL;
		size_t bytes = 0;

		result = image_next(&reader, &message);
		if (result != R_OK)
			break;
		result = keep_message(restore, message);
		if (result == R_OK && payload_bytes) {
			bytes = payload_bytes(message);
			result = image_payload(&reader, bytes, &payload);
		}
		if (result == R_OK)
			result = fn(restore, message, payload, bytes);
	}
	free(data);
	return result == R_NOT_FOUND ? R_OK : result;
}

int fds_restore_each(struct fds_restore *restore, enum image_kind_id image,
		     size_t (*payload_bytes)(const ProtobufCMessage *entry),
		     int (*fn)(struct fds_restore *restore, const ProtobufCMessage *entry,
			       const void *payload, size_t bytes))
{
	return each_of(restore, image, image_kind(image)->name, payload_bytes, fn);
}

static int load_file(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	const FileEntry *entry = (const FileEntry *)message;
	struct restored_file f = { .id = entry->id, .entry = entry, .local = -1 };
	size_t at = restore->n_files;

	(void)payload;
	(void)bytes;
	f.kind = fd_kind_of(entry->type);
	if (!f.kind) {
		warn("open file %u: files of type %d cannot be restored by this snap", entry->id,
		     (int)entry->type);
		return R_UNSUPPORTED;
	}
	if (grow(&restore->files, restore->n_files, &restore->room_files, sizeof(f)) != R_OK)
		return R_FAILED;
	/* Those of takes are in order; CRIU writes them as it meets them, nearly so. */
	while (at > 0 && restore->files[at - 1].id > entry->id)
		at--;
	if (at > 0 && restore->files[at - 1].id == entry->id) {
		warn("image files: open file %u is there twice; run 'snap verify'", entry->id);
		return R_DAMAGED;
	}
	memmove(&restore->files[at + 1], &restore->files[at], (restore->n_files - at) * sizeof(f));
	restore->files[at] = f;
	restore->n_files++;
	return R_OK;
}

static int load_pid(struct fds_restore *restore, const ProtobufCMessage *message,
		    const void *payload, size_t bytes)
{
	(void)payload;
	(void)bytes;
	if (grow(&restore->pids, restore->n_pids, &restore->room_pids, sizeof(pid_t)) != R_OK)
		return R_FAILED;
	restore->pids[restore->n_pids++] = (pid_t)((const PstreeEntry *)message)->pid;
	return R_OK;
}

int fds_restore_begin(struct store_view *view, uint64_t gen, struct fds_restore **restore)
{
	struct fds_restore *r = calloc(1, sizeof(*r));
	struct rlimit limit;
	int result;

	*restore = NULL;
	if (!r) {
		warn("no memory to restore open files; free some and try again");
		return R_FAILED;
	}
	r->view = view;
	r->generation = gen;
	r->channel_here = r->channel_task = -1;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	result = fds_restore_each(r, IMAGE_PSTREE, NULL, load_pid);
	if (result == R_OK)
		result = fds_restore_each(r, IMAGE_FILES, NULL, load_file);
	if (result != R_OK) {
		fds_restore_end(r);
		return result;
	}
	*restore = r;
	return R_OK;
}

static struct restored_file *find_file(struct fds_restore *restore, uint32_t id)
{
	size_t low = 0, high = restore->n_files;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (restore->files[mid].id == id)
			return &restore->files[mid];
		if (restore->files[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

struct restored_file *fds_restore_known(struct fds_restore *restore, uint32_t id)
{
	return find_file(restore, id);
}

static int load_row(struct fds_restore *restore, const ProtobufCMessage *message,
		    const void *payload, size_t bytes)
{
	struct restored_table *table = &restore->tables[restore->n_tables - 1];
	FdinfoEntry *entry = (FdinfoEntry *)message;
	size_t at = table->n;
	void *more = realloc(table->entries, (table->n + 1) * sizeof(*table->entries));

	(void)payload;
	(void)bytes;
	if (!more) {
		warn("no memory for a table of %zu descriptors", table->n);
		return R_FAILED;
	}
	table->entries = more;
	if (!find_file(restore, entry->id) || entry->fd > INT32_MAX) {
		warn(
		    "image fdinfo-%u: descriptor %u leads to open file %u, which is not there; run "
		    "'snap verify'",
		    table->id, entry->fd, entry->id);
		return R_DAMAGED;
	}
	for (; at > 0 && table->entries[at - 1]->fd > entry->fd; at--)
		table->entries[at] = table->entries[at - 1];
	table->entries[at] = entry;
	table->n++;
	return R_OK;
}

int fds_restore_table(struct fds_restore *restore, uint32_t files_id)
{
	char name[32];

	for (size_t i = 0; i < restore->n_tables; i++) {
		if (restore->tables[i].id == files_id)
			return R_OK;
	}
	if (grow(&restore->tables, restore->n_tables, &restore->room_tables,
		 sizeof(*restore->tables)) != R_OK)
		return R_FAILED;
	restore->tables[restore->n_tables++] = (struct restored_table){ .id = files_id };
	snprintf(name, sizeof(name), "fdinfo-%u", files_id);
	return each_of(restore, IMAGE_FDINFO, name, NULL, load_row);
}

/* Calls `fn` for every number that a table has, or an epoll knows a file by. */
static void each_number(struct fds_restore *restore, void (*fn)(int fd, void *arg), void *arg)
{
	for (size_t i = 0; i < restore->n_tables; i++) {
		for (size_t k = 0; k < restore->tables[i].n; k++)
			fn((int)restore->tables[i].entries[k]->fd, arg);
	}
	for (size_t i = 0; i < restore->n_files; i++) {
		const EventpollFileEntry *epfd = restore->files[i].entry->epfd;

		for (size_t k = 0; epfd && k < epfd->n_tfd; k++)
			fn((int)epfd->tfd[k]->tfd, arg);
	}
}

static void find_top(int fd, void *arg)
{
	int *top = arg;

	if (fd >= *top)
		*top = fd + 1;
}

struct gap {
	int from, want;
	bool moved;
};

static void move_gap(int fd, void *arg)
{
	struct gap *gap = arg;

	if (fd < gap->from || fd >= gap->from + gap->want)
		return;
	gap->from = fd + 1;
	gap->moved = true;
}

/* A run of numbers that no task uses: behind all of them, or the first wide gap. */
static int choose_numbers(struct fds_restore *restore)
{
	struct gap gap = { .from = FIRST_HIGH, .want = (int)restore->n_files + SPARE_HIGH };
	struct rlimit limit;

	each_number(restore, find_top, &gap.from);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		limit.rlim_cur = 1024;
	if ((rlim_t)gap.from + (rlim_t)gap.want > limit.rlim_cur)
		gap.from = FIRST_HIGH;
	do {
		gap.moved = false;
		each_number(restore, move_gap, &gap);
	} while (gap.moved);
	if ((rlim_t)gap.from + (rlim_t)gap.want > limit.rlim_cur) {
		warn("restoring %zu open files needs %d free descriptors; raise the hard limit "
		     "(ulimit -Hn, now %llu)",
		     restore->n_files, gap.want, (unsigned long long)limit.rlim_cur);
		return R_FAILED;
	}
	restore->base = gap.from;
	restore->limit = gap.from + gap.want;
	return R_OK;
}

/* Kinds load even without files of theirs: another kind may lean on them (FIFOs on ghosts). */
static int load_kinds(struct fds_restore *restore)
{
	for (size_t i = 0; fd_kinds[i]; i++) {
		int result = fd_kinds[i]->load ? fd_kinds[i]->load(restore) : R_OK;

		if (result != R_OK)
			return result;
	}
	return locks_load(restore);
}

int fds_restore_check(struct fds_restore *restore)
{
	int result = choose_numbers(restore);

	if (result == R_OK)
		result = load_kinds(restore);
	if (result != R_OK)
		return result;
	for (size_t i = 0; i < restore->n_files; i++) {
		struct restored_file *f = &restore->files[i];
		int one;

		if (!progress_tell(restore->progress, "comparing files", i, restore->n_files,
				   PROGRESS_ITEMS))
			return R_FAILED;
		one = f->kind->check ? f->kind->check(restore, f) : R_OK;

		if (one == R_DAMAGED)
			warn("open file %u (%s): its images do not go together; run 'snap verify'",
			     f->id, f->kind->name);
		/* Go on, so that everything that is missing is named at once. */
		if (one != R_OK)
			result = one;
	}
	return result;
}

int fds_restore_high(struct fds_restore *restore, int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, restore->base), saved = errno;

	close(fd);
	if (high >= restore->limit) {
		close(high);
		high = -1;
		saved = EMFILE;
	}
	errno = saved;
	return high;
}

int fds_restore_adopt(struct fds_restore *restore, struct restored_file *f, int fd)
{
	f->local = fds_restore_high(restore, fd);
	if (f->local >= 0)
		return R_OK;
	warn_errno("open file %u: no descriptor for it", f->id);
	return R_FAILED;
}

struct restored_file *fds_restore_file(struct fds_restore *restore, uint32_t id)
{
	struct restored_file *f = find_file(restore, id);

	if (!f) {
		warn("open file %u: is referred to and not there; run 'snap verify'", id);
		return NULL;
	}
	if (f->local >= 0 || f->late)
		return f;
	if (f->opening) {
		warn("open file %u: needs itself to be opened; run 'snap verify'", id);
		return NULL;
	}
	f->opening = true;
	if (f->kind->open(restore, f) != R_OK)
		f = NULL;
	else
		f->opening = false;
	return f;
}

int fds_restore_open(struct fds_restore *restore)
{
	for (size_t i = 0; i < restore->n_files; i++) {
		if (!progress_tell(restore->progress, "opening files", i, restore->n_files,
				   PROGRESS_ITEMS) ||
		    !fds_restore_file(restore, restore->files[i].id))
			return R_FAILED;
	}
	for (size_t i = 0; i < restore->n_files; i++) {
		struct restored_file *f = &restore->files[i];

		if (f->kind->link && !f->late && f->kind->link(restore, f) != R_OK)
			return R_FAILED;
	}
	return late_prepare(restore);
}

int fds_restore_fd(struct fds_restore *restore, uint32_t id)
{
	struct restored_file *f = find_file(restore, id);

	return f ? f->local : -1;
}

const FileEntry *fds_restore_entry(struct fds_restore *restore, uint32_t id)
{
	struct restored_file *f = find_file(restore, id);

	return f ? f->entry : NULL;
}

void fds_restore_mapped(struct fds_restore *restore, uint32_t id, uint32_t flags)
{
	struct restored_file *f = find_file(restore, id);
	uint32_t *opened, files_id;
	int fd;

	if (!f || (flags & O_ACCMODE) != O_RDWR || fds_restore_holder(restore, id, &files_id, &fd))
		return;
	opened = f->entry->reg	   ? &f->entry->reg->flags
		 : f->entry->memfd ? &f->entry->memfd->flags
				   : NULL;
	if (opened)
		*opened = (*opened & ~(uint32_t)O_ACCMODE) | O_RDWR;
}

const char *fds_restore_path(struct fds_restore *restore, uint32_t id)
{
	struct restored_file *f = find_file(restore, id);

	return f && f->entry->reg ? f->entry->reg->name : NULL;
}

bool fds_restore_first_table(struct fds_restore *restore, uint32_t *files_id)
{
	if (restore->n_tables)
		*files_id = restore->tables[0].id;
	return restore->n_tables > 0;
}

pid_t fds_restore_root(struct fds_restore *restore)
{
	return restore->n_pids ? restore->pids[0] : 0;
}

bool fds_restore_has_pid(struct fds_restore *restore, pid_t pid)
{
	for (size_t i = 0; i < restore->n_pids; i++) {
		if (restore->pids[i] == pid)
			return true;
	}
	return false;
}

struct fds_restore_kinds *fds_restore_kinds(struct fds_restore *restore)
{
	return &restore->kinds;
}

void fds_restore_set_files(struct fds_restore *restore, struct files_restore *files)
{
	restore->file_check = files;
}

struct files_restore *fds_restore_files(struct fds_restore *restore)
{
	return restore->file_check;
}

void fds_restore_set_progress(struct fds_restore *restore, const struct progress *progress)
{
	restore->progress = progress;
}

const struct progress *fds_restore_progress(struct fds_restore *restore)
{
	return restore->progress;
}

struct store_view *fds_restore_view(struct fds_restore *restore)
{
	return restore->view;
}

uint64_t fds_restore_generation(struct fds_restore *restore)
{
	return restore->generation;
}

int fds_restore_flags(struct restored_file *f, uint32_t flags, int64_t pos)
{
	/* O_ASYNC waits until the owner is set. */
	uint32_t settable = O_NONBLOCK | O_APPEND | O_DIRECT | O_NOATIME;

	if ((flags & settable) && fcntl(f->local, F_SETFL, (int)(flags & settable)) != 0) {
		warn_errno("open file %u (%s): cannot set its flags %o", f->id, f->kind->name,
			   flags);
		return R_FAILED;
	}
	if (pos > 0 && lseek(f->local, (off_t)pos, SEEK_SET) < 0) {
		warn_errno("open file %u (%s): cannot go to offset %lld", f->id, f->kind->name,
			   (long long)pos);
		return R_FAILED;
	}
	return R_OK;
}

int fds_restore_adopt_as(struct fds_restore *restore, struct restored_file *f, int fd,
			 uint32_t flags, int64_t pos)
{
	if (fds_restore_adopt(restore, f, fd) != R_OK)
		return R_FAILED;
	return fds_restore_flags(f, flags, pos);
}

bool fds_restore_holder(struct fds_restore *restore, uint32_t id, uint32_t *files_id, int *fd)
{
	for (size_t i = 0; i < restore->n_tables; i++) {
		for (size_t k = 0; k < restore->tables[i].n; k++) {
			if (restore->tables[i].entries[k]->id != id)
				continue;
			*files_id = restore->tables[i].id;
			*fd = (int)restore->tables[i].entries[k]->fd;
			return true;
		}
	}
	return false;
}

int fds_restore_each_file(struct fds_restore *restore,
			  int (*fn)(struct fds_restore *restore, struct restored_file *f,
				    void *arg),
			  void *arg)
{
	for (size_t i = 0; i < restore->n_files; i++) {
		int result = fn(restore, &restore->files[i], arg);

		if (result)
			return result;
	}
	return R_OK;
}

uint32_t fds_restore_id_at(struct fds_restore *restore, uint32_t files_id, int fd)
{
	for (size_t i = 0; i < restore->n_tables; i++) {
		struct restored_table *table = &restore->tables[i];

		for (size_t k = 0; table->id == files_id && k < table->n; k++) {
			if ((int)table->entries[k]->fd == fd)
				return table->entries[k]->id;
		}
	}
	return 0;
}

void fds_restore_close(struct fds_restore *restore)
{
	for (size_t i = 0; fd_kinds[i]; i++)
		if (fd_kinds[i]->done)
			fd_kinds[i]->done(restore);
	for (size_t i = 0; i < restore->n_files; i++) {
		if (restore->files[i].local >= 0)
			close(restore->files[i].local);
		restore->files[i].local = -1;
	}
}

void fds_restore_end(struct fds_restore *restore)
{
	if (!restore)
		return;
	fds_restore_close(restore);
	for (size_t i = 0; i < restore->n_files; i++)
		free(restore->files[i].priv);
	for (size_t i = 0; i < restore->n_tables; i++)
		free(restore->tables[i].entries);
	for (size_t i = 0; i < restore->n_messages; i++)
		image_free_message(restore->messages[i]);
	if (restore->channel_here >= 0)
		close(restore->channel_here);
	if (restore->channel_task >= 0)
		close(restore->channel_task);
	free(restore->messages);
	free(restore->tables);
	free(restore->files);
	free(restore->pids);
	free(restore->locks);
	store_keys_close(restore->keys);
	free(restore);
}
