/* Contents of files that are written to, taken while their writers stand still. */
#include "engine/proc/files/data_ahead.h"
#include "engine/proc/files/reflink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"

/* A file that others write to all the time is not waited for. */
#define READ_TRIES 3u
/* Each holds a descriptor. */
#define CLONES_MAX 128u

struct inode {
	uint64_t dev, ino;
	const char *path;
};

/* An object of the last generation that is this one's too. */
struct same {
	const char *name;
	const struct object *object;
	uint64_t pages;
};

/* What a file held while the tree stood still, to be read when it runs again. */
struct data_clone {
	const SnapDataEntry *entry;
	int fd;
};

struct data_take {
	struct dump_ctx *ctx;
	const struct file_memory *memory;
	const struct data_options *options;
	struct file_summary *summary;
	struct data_ahead *ahead; /* what was read before; may be NULL */
	struct file_leases leases;
	SnapDataEntry **entries;
	size_t n, room;
	struct inode *inodes;
	size_t n_inodes, room_inodes;
	struct same *same;
	size_t n_same, room_same;
	struct data_clone *clones;
	size_t n_clones, room_clones;
	uint64_t *names; /* hashes of those of all objects, also of those read in vain; 0: free */
	size_t n_names, room_names;
};

void *data_alloc(struct data_take *take, size_t bytes)
{
	return fds_take_alloc(take->ctx->fds, bytes);
}

static int grow(void *list, size_t n, size_t *room, size_t size)
{
	void **array = list, *more;
	size_t want = *room ? 2 * *room : 64;

	if (n < *room)
		return R_OK;
	more = realloc(*array, want * size);
	if (!more) {
		warn("no memory for a list of files; free some and try again");
		return R_FAILED;
	}
	*array = more;
	*room = want;
	return R_OK;
}

SnapDataEntry *data_entry(struct data_take *take, const char *path)
{
	SnapDataEntry *entry = data_alloc(take, sizeof(*entry));

	if (!entry || grow(&take->entries, take->n, &take->room, sizeof(*take->entries)) != R_OK)
		return NULL;
	snap_data_entry__init(entry);
	entry->path = fds_take_strdup(take->ctx->fds, path);
	if (!entry->path)
		return NULL;
	take->entries[take->n++] = entry;
	return entry;
}

void data_describe(SnapDataEntry *entry, const struct stat *st)
{
	entry->mode = st->st_mode;
	entry->uid = st->st_uid;
	entry->gid = st->st_gid;
	entry->size = (uint64_t)st->st_size;
	entry->rdev = st->st_rdev;
	entry->has_rdev = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
	entry->dev = st->st_dev;
	entry->ino = st->st_ino;
	entry->mtime_sec = st->st_mtim.tv_sec;
	entry->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	entry->ctime_sec = st->st_ctim.tv_sec;
	entry->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
}

const char *data_known_inode(const struct data_take *take, const struct stat *st)
{
	for (size_t i = 0; i < take->n_inodes; i++)
		if (take->inodes[i].ino == st->st_ino && take->inodes[i].dev == st->st_dev)
			return take->inodes[i].path;
	return NULL;
}

int data_note_inode(struct data_take *take, const struct stat *st, const char *path)
{
	if (grow(&take->inodes, take->n_inodes, &take->room_inodes, sizeof(*take->inodes)) != R_OK)
		return R_FAILED;
	take->inodes[take->n_inodes++] = (struct inode){ st->st_dev, st->st_ino, path };
	return R_OK;
}

/* Where the hash of a name is among those given out, or belongs. */
static uint64_t *name_slot(const struct data_take *take, uint64_t hash)
{
	size_t at = hash & (take->room_names - 1);

	while (take->names[at] && take->names[at] != hash)
		at = (at + 1) & (take->room_names - 1);
	return &take->names[at];
}

/* Two names of one hash only mean that the second is not used. */
static uint64_t name_hash(const char *name)
{
	uint64_t hash = XXH3_64bits(name, strlen(name));

	return hash ? hash : 1;
}

static bool name_taken(const struct data_take *take, const char *name)
{
	return take->room_names && *name_slot(take, name_hash(name)) != 0;
}

static int more_names(struct data_take *take)
{
	size_t room = take->room_names ? 2 * take->room_names : 256, old = take->room_names;
	uint64_t *names = take->names;

	take->names = calloc(room, sizeof(*names));
	if (!take->names) {
		take->names = names;
		warn("no memory for a list of files; free some and try again");
		return R_FAILED;
	}
	take->room_names = room;
	for (size_t i = 0; i < old; i++)
		if (names[i])
			*name_slot(take, names[i]) = names[i];
	free(names);
	return R_OK;
}

static int note_name(const char *name, void *arg)
{
	struct data_take *take = arg;
	uint64_t hash = name_hash(name);

	if (2 * take->n_names >= take->room_names && more_names(take) != R_OK)
		return R_FAILED;
	*name_slot(take, hash) = hash;
	take->n_names++;
	return R_OK;
}

static int give_name(struct data_take *take, SnapDataEntry *entry, const char *name)
{
	entry->object = fds_take_strdup(take->ctx->fds, name);
	return entry->object ? note_name(name, take) : R_FAILED;
}

/* What was read before the tree stood still, if that is what the file holds. */
static bool use_ahead(struct data_take *take, SnapDataEntry *entry, int fd)
{
	const char *name;
	struct stat st;

	if (!take->ahead || fstat(fd, &st) != 0 ||
	    (name = data_ahead_use(take->ahead, &st)) == NULL)
		return false;
	data_describe(entry, &st);
	entry->object = fds_take_strdup(take->ctx->fds, name);
	take->summary->bytes_read += entry->size;
	return entry->object != NULL;
}

/* What the last generation has of it, if nobody can have written to it since. */
static bool keep(struct data_take *take, SnapDataEntry *entry)
{
	const SnapDataEntry *then = file_memory_data(take->memory, entry->dev, entry->ino);
	const struct object *object;

	if (!then || !then->object || !then->settled || then->size != entry->size ||
	    then->mtime_sec != entry->mtime_sec || then->mtime_nsec != entry->mtime_nsec ||
	    then->ctime_sec != entry->ctime_sec || then->ctime_nsec != entry->ctime_nsec)
		return false;
	object = file_memory_object(take->memory, then->object);
	if (!object || name_taken(take, then->object) ||
	    grow(&take->same, take->n_same, &take->room_same, sizeof(*take->same)) != R_OK ||
	    give_name(take, entry, then->object) != R_OK)
		return false;
	take->same[take->n_same++] =
	    (struct same){ entry->object, object, (entry->size + PAGE_BYTES - 1) / PAGE_BYTES };
	take->summary->data_kept++;
	return true;
}

/* A name that nothing has yet, also not the try before. */
static int give_new_name(struct data_take *take, SnapDataEntry *entry)
{
	char name[BLOB_NAME_BYTES];
	unsigned int twin = 0;

	do
		blob_name("data", entry->path, twin++, name);
	while (name_taken(take, name));
	return give_name(take, entry, name);
}

static bool same_times(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int read_once(struct data_take *take, SnapDataEntry *entry, int fd, bool *torn)
{
	struct stat before, after;
	int rc;

	if (give_new_name(take, entry) != R_OK || fstat(fd, &before) != 0)
		return R_FAILED;
	data_describe(entry, &before);
	rc = blob_store(take->ctx->ingest, entry->object, fd, entry->size, NULL);
	if (rc == R_FAILED || fstat(fd, &after) != 0)
		return R_FAILED;
	*torn = rc == R_NOT_FOUND || !same_times(&before, &after);
	return R_OK;
}

/* Where the file system can have two files share their data, that takes a moment however large it
 * is.  A clone is of one instant, but its size and times have to be of the same. */
static bool use_clone(struct data_take *take, SnapDataEntry *entry, int fd)
{
	struct stat before, after;
	int clone;

	if (!take->options->clone || take->n_clones == CLONES_MAX ||
	    grow(&take->clones, take->n_clones, &take->room_clones, sizeof(*take->clones)) != R_OK)
		return false;
	for (unsigned int i = 0; i < READ_TRIES; i++) {
		if (fstat(fd, &before) != 0 || (clone = reflink_open(fd, entry->path)) < 0)
			return false;
		if (fstat(fd, &after) == 0 && same_times(&before, &after)) {
			data_describe(entry, &before);
			if (give_new_name(take, entry) == R_OK) {
				take->clones[take->n_clones++] =
				    (struct data_clone){ entry, clone };
				return true;
			}
		}
		close(clone);
	}
	return false;
}

int data_contents(struct data_take *take, SnapDataEntry *entry, int fd, bool always)
{
	int64_t changed_ns = entry->ctime_sec * 1000000000ll + entry->ctime_nsec;
	bool torn = true;

	take->summary->data++;
	if (!always && !take->options->read_all && keep(take, entry))
		goto out;
	if ((!always && use_ahead(take, entry, fd)) || use_clone(take, entry, fd))
		torn = false;
	for (unsigned int i = 0; torn && i < READ_TRIES; i++) {
		if (read_once(take, entry, fd, &torn) != R_OK) {
			warn_errno("%s: cannot be read to be stored", entry->path);
			return R_FAILED;
		}
		take->summary->bytes_read += entry->size;
	}
	if (torn) {
		take->summary->data_torn++;
		entry->torn = entry->has_torn = 1;
		warn("%s: a process outside of the tree wrote to it while it was read, %u times; "
		     "what is stored may never have been all there at once",
		     entry->path, READ_TRIES);
	}
out:
	entry->has_settled = 1;
	entry->settled =
	    !always && !torn && changed_ns + FILES_SETTLED_NS < take->options->frozen_at_ns;
	/* What was kept was whole, too. */
	if (!always && take->n_same && take->same[take->n_same - 1].name == entry->object)
		entry->settled = 1;
	take->summary->bytes_data += entry->size;
	return R_OK;
}

static bool is_written(const struct taken_file *f)
{
	return f->named && S_ISREG(f->st.st_mode) && !(f->flags & O_PATH) &&
	       (f->flags & O_ACCMODE) != O_RDONLY;
}

/* Mapped by somebody of the tree such that writes move no time. */
static bool is_mapped_to_write(const struct data_take *take, const struct stat *st)
{
	for (size_t i = 0; i < take->ctx->n_tasks; i++) {
		const struct maps *maps = &take->ctx->tasks[i].maps;

		for (size_t k = 0; k < maps->n; k++)
			if (maps->vmas[k].shared && maps->vmas[k].marks & VMA_MARK_MAYWRITE &&
			    maps->vmas[k].ino == st->st_ino &&
			    maps->vmas[k].dev_major == major(st->st_dev) &&
			    maps->vmas[k].dev_minor == minor(st->st_dev))
				return true;
	}
	return false;
}

static int take_written(struct taken_file *f, void *arg)
{
	struct data_take *take = arg;
	SnapDataEntry *entry;
	char path[64];
	int fd, rc;

	if (!is_written(f) || data_known_inode(take, &f->st))
		return 0;
	if (data_note_inode(take, &f->st, f->link) != R_OK)
		return R_FAILED;
	if (file_is_leased(&take->leases, (uint64_t)major(f->st.st_dev) << 32 | minor(f->st.st_dev),
			   f->st.st_ino)) {
		warn("%s: has a lease, which reading it for --with-files would break",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	/* A description of our own: reading must not move an offset of the target's. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->local);
	fd = open(path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EPERM)
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		warn_errno("%s: cannot be read to be stored", taken_file_name(f));
		return R_FAILED;
	}
	entry = data_entry(take, f->link);
	if (entry) {
		data_describe(entry, &f->st);
		rc = data_xattrs(take, entry, path);
		if (rc == R_OK)
			rc = data_contents(take, entry, fd, is_mapped_to_write(take, &f->st));
	} else {
		rc = R_FAILED;
	}
	close(fd);
	return rc;
}

int data_take(struct dump_ctx *ctx, const struct file_memory *memory,
	      const struct data_options *options, struct data_ahead *ahead,
	      struct file_summary *summary, struct data_take **out)
{
	struct data_take *take = calloc(1, sizeof(*take));
	int rc = R_OK;

	*out = take;
	if (!take) {
		warn("no memory to store files; free some and try again");
		return R_FAILED;
	}
	take->ctx = ctx;
	take->memory = memory;
	take->options = options;
	take->summary = summary;
	take->ahead = ahead;
	rc = data_ahead_check(ahead, ctx->ingest, note_name, take);
	/* Folders first: what they hold needs no entry of its own. */
	for (size_t i = 0; rc == R_OK && i < options->n_paths; i++)
		rc = data_folder(take, options->paths[i]);
	if (rc == R_OK && options->written)
		rc = fds_take_each(ctx->fds, take_written, take);
	data_ahead_drop(ahead, ctx->ingest);
	return rc;
}

bool data_is_mapped_to_write(const struct data_take *take, const struct stat *st)
{
	return is_mapped_to_write(take, st);
}

bool data_is_leased(struct data_take *take, const struct stat *st)
{
	return file_is_leased(&take->leases, (uint64_t)major(st->st_dev) << 32 | minor(st->st_dev),
			      st->st_ino);
}

/* Nobody else has what was cloned, so it cannot change any more. */
static int read_clones(struct data_take *take)
{
	for (size_t i = 0; i < take->n_clones; i++) {
		struct data_clone *clone = &take->clones[i];
		int rc = blob_store(take->ctx->ingest, clone->entry->object, clone->fd,
				    clone->entry->size, NULL);

		if (rc != R_OK) {
			warn("%s: what it held cannot be read to be stored", clone->entry->path);
			return R_FAILED;
		}
		take->summary->bytes_read += clone->entry->size;
		detail("%s: cloned while the tree stood still, and read afterwards",
		       clone->entry->path);
		close(clone->fd);
		clone->fd = -1;
	}
	return R_OK;
}

int data_take_finish(struct data_take *take)
{
	struct image_writer image;
	int rc = read_clones(take);

	for (size_t i = 0; rc == R_OK && i < take->n_same; i++)
		rc = object_take_over(take->ctx->ingest, take->same[i].name, take->same[i].object,
				      take->same[i].pages);
	if (rc == R_BUSY) {
		warn("two files are stored under one name; take it again");
		rc = R_FAILED;
	}
	if (rc != R_OK || take->n == 0)
		return rc;
	image_writer_init(&image, IMAGE_SNAP_DATA);
	for (size_t i = 0; i < take->n; i++)
		image_add(&image, &take->entries[i]->base);
	rc = image_finish(&image);
	if (rc == R_OK)
		rc = object_put(take->ctx->ingest, image_kind(IMAGE_SNAP_DATA)->name, image.data,
				image.len);
	image_writer_free(&image);
	return rc;
}

void data_take_end(struct data_take *take)
{
	if (!take)
		return;
	for (size_t i = 0; i < take->n_clones; i++)
		if (take->clones[i].fd >= 0)
			close(take->clones[i].fd);
	free(take->clones);
	free(take->leases.list);
	free(take->entries);
	free(take->inodes);
	free(take->same);
	free(take->names);
	free(take);
}
