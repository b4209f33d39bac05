#include "disk.h"

#include "preload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define BLOCK 4096u

/* A change of bytes: `data` at `offset`, or zeroes (a hole), or a new length. */
struct change {
	enum { CHANGE_WRITE, CHANGE_HOLE, CHANGE_LENGTH } kind;
	bool synced; /* on its own */
	uint64_t offset, len;
	uint8_t *data;
};

/* A change of names: `removed` goes, `name` becomes `file`; either may be empty. */
struct naming {
	char name[256], removed[256];
	size_t file;
};

struct name {
	char name[256];
	size_t file;
};

/* A file or directory.  They are never removed here: their names are. */
struct file {
	uint64_t inode;
	bool directory;
	uint8_t *bytes; /* synced */
	uint64_t len;
	struct change *changes;
	size_t n_changes;
	struct name *names; /* synced */
	size_t n_names;
	struct naming *namings;
	size_t n_namings;
};

struct disk {
	struct file *files; /* the first is the root */
	size_t n;
};

static void *grown(void *list, size_t n, size_t size)
{
	list = realloc(list, (n + 1) * size);
	if (!list) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	memset((char *)list + n * size, 0, size);
	return list;
}

struct disk *disk_new(void)
{
	return calloc(1, sizeof(struct disk));
}

static void clear_changes(struct file *file)
{
	for (size_t i = 0; i < file->n_changes; i++)
		free(file->changes[i].data);
	free(file->changes);
	free(file->namings);
	file->changes = NULL;
	file->namings = NULL;
	file->n_changes = file->n_namings = 0;
}

void disk_free(struct disk *disk)
{
	for (size_t i = 0; i < disk->n; i++) {
		clear_changes(&disk->files[i]);
		free(disk->files[i].bytes);
		free(disk->files[i].names);
	}
	free(disk->files);
	free(disk);
}

/* The newest file with this inode: numbers are used again.  A file that was there before the record
 * began, such as the root, is new here. */
static size_t find(struct disk *disk, uint64_t inode, bool directory)
{
	for (size_t i = disk->n; i-- > 0;)
		if (disk->files[i].inode == inode)
			return i;
	disk->files = grown(disk->files, disk->n, sizeof(*disk->files));
	disk->files[disk->n].inode = inode;
	disk->files[disk->n].directory = directory;
	return disk->n++;
}

/* Valid until the next file is found. */
static struct file *file_of(struct disk *disk, uint64_t inode, bool directory)
{
	size_t i = find(disk, inode, directory);

	return &disk->files[i];
}

static struct naming *new_naming(struct disk *disk, uint64_t dir)
{
	struct file *file = file_of(disk, dir, true);

	file->namings = grown(file->namings, file->n_namings, sizeof(*file->namings));
	return &file->namings[file->n_namings++];
}

static void set_name(struct name **names, size_t *n, const char *name, size_t file)
{
	for (size_t i = 0; i < *n; i++) {
		if (strcmp((*names)[i].name, name) == 0) {
			(*names)[i].file = file;
			return;
		}
	}
	*names = grown(*names, *n, sizeof(**names));
	snprintf((*names)[*n].name, sizeof((*names)[*n].name), "%s", name);
	(*names)[(*n)++].file = file;
}

static void apply_naming(struct name **names, size_t *n, const struct naming *naming)
{
	if (*naming->removed)
		for (size_t i = 0; i < *n; i++)
			if (strcmp((*names)[i].name, naming->removed) == 0)
				(*names)[i--] = (*names)[--*n];
	if (*naming->name)
		set_name(names, n, naming->name, naming->file);
}

/* The file that has a name now, as processes see it. */
static size_t now_named(const struct disk *disk, size_t dir, const char *name)
{
	const struct file *file = &disk->files[dir];
	size_t found = 0;

	for (size_t i = 0; i < file->n_names; i++)
		if (strcmp(file->names[i].name, name) == 0)
			found = file->names[i].file;
	for (size_t i = 0; i < file->n_namings; i++)
		if (strcmp(file->namings[i].name, name) == 0)
			found = file->namings[i].file;
	return found;
}

static void apply_bytes(uint8_t **bytes, uint64_t *len, uint64_t offset, const uint8_t *data,
			uint64_t n)
{
	if (offset + n > *len) {
		*bytes = realloc(*bytes, offset + n);
		if (!*bytes) {
			fprintf(stderr, "out of memory\n");
			exit(1);
		}
		memset(*bytes + *len, 0, offset + n - *len);
		*len = offset + n;
	}
	if (data)
		memcpy(*bytes + offset, data, n);
	else
		memset(*bytes + offset, 0, n);
}

static void apply_change(uint8_t **bytes, uint64_t *len, const struct change *change)
{
	switch (change->kind) {
	case CHANGE_WRITE:
		apply_bytes(bytes, len, change->offset, change->data, change->len);
		break;
	case CHANGE_HOLE: /* within the file */
		if (change->offset < *len)
			apply_bytes(bytes, len, change->offset, NULL,
				    change->len < *len - change->offset ? change->len
									: *len - change->offset);
		break;
	case CHANGE_LENGTH:
		if (change->offset > *len)
			apply_bytes(bytes, len, change->offset, NULL, 0);
		*len = change->offset;
		break;
	}
}

static void sync_file(struct file *file)
{
	for (size_t i = 0; i < file->n_changes; i++)
		apply_change(&file->bytes, &file->len, &file->changes[i]);
	for (size_t i = 0; i < file->n_namings; i++)
		apply_naming(&file->names, &file->n_names, &file->namings[i]);
	clear_changes(file);
}

static void add_change(struct disk *disk, const struct record *record, const uint8_t *data)
{
	struct file *file = file_of(disk, record->file, false);
	struct change *change;

	file->changes = grown(file->changes, file->n_changes, sizeof(*file->changes));
	change = &file->changes[file->n_changes++];
	change->kind = record->kind == CALL_WRITE   ? CHANGE_WRITE
		       : record->kind == CALL_PUNCH ? CHANGE_HOLE
						    : CHANGE_LENGTH;
	change->synced = record->flags & RECORD_SYNCED;
	change->offset = record->offset;
	change->len = record->len;
	if (!data)
		return;
	change->data = malloc(record->len ? record->len : 1);
	if (!change->data) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	memcpy(change->data, data, record->len);
}

void disk_apply(struct disk *disk, const struct record *record, const char *name, const char *name2,
		const uint8_t *data)
{
	struct naming *naming;
	size_t dir, file;

	switch (record->kind) {
	case CALL_CREATE:
		/* The root itself: its name is none of its own entries. */
		if (disk->n == 0) {
			find(disk, record->file, true);
			return;
		}
		disk->files = grown(disk->files, disk->n, sizeof(*disk->files));
		disk->files[disk->n].inode = record->file;
		disk->files[disk->n].directory = record->flags & RECORD_DIRECTORY;
		file = disk->n++;
		naming = new_naming(disk, record->dir);
		snprintf(naming->name, sizeof(naming->name), "%s", name);
		naming->file = file;
		break;
	case CALL_RENAME:
		dir = find(disk, record->dir, true);
		file = now_named(disk, dir, name);
		naming = new_naming(disk, record->dir);
		snprintf(naming->removed, sizeof(naming->removed), "%s", name);
		snprintf(naming->name, sizeof(naming->name), "%s", name2);
		naming->file = file;
		break;
	case CALL_UNLINK:
		naming = new_naming(disk, record->dir);
		snprintf(naming->removed, sizeof(naming->removed), "%s", name);
		break;
	case CALL_SYNC:
		sync_file(file_of(disk, record->file, false));
		break;
	default:
		add_change(disk, record, data);
	}
}

size_t disk_pending(const struct disk *disk)
{
	size_t n = 0;

	for (size_t i = 0; i < disk->n; i++)
		n += disk->files[i].n_changes + disk->files[i].n_namings;
	return n;
}

struct losing {
	const struct disk *disk;
	enum loss_mode mode;
	uint64_t state;
};

static bool chance(struct losing *losing)
{
	losing->state ^= losing->state << 13;
	losing->state ^= losing->state >> 7;
	losing->state ^= losing->state << 17;
	return losing->state * 0x2545f4914f6cdd1dull >> 63;
}

static bool survives(struct losing *losing)
{
	if (losing->mode == LOSS_NONE || losing->mode == LOSS_ZEROES)
		return true;
	return losing->mode != LOSS_ALL && chance(losing);
}

/* A write of which only some sectors arrived; the length may have arrived or not. */
static void apply_torn(struct losing *losing, uint8_t **bytes, uint64_t *len,
		       const struct change *change)
{
	uint64_t unit = losing->mode == LOSS_SECTORS ? SECTOR : BLOCK;
	uint64_t end = change->offset + change->len;

	for (uint64_t at = change->offset; at < end;) {
		uint64_t next = (at / unit + 1) * unit < end ? (at / unit + 1) * unit : end;

		if (chance(losing))
			apply_bytes(bytes, len, at, change->data + (at - change->offset),
				    next - at);
		at = next;
	}
}

static void apply_unsynced(struct losing *losing, uint8_t **bytes, uint64_t *len,
			   const struct change *change)
{
	static const uint8_t nothing;

	if (change->synced)
		apply_change(bytes, len, change);
	else if (change->kind != CHANGE_WRITE && survives(losing))
		apply_change(bytes, len, change);
	else if (change->kind != CHANGE_WRITE)
		return;
	else if (losing->mode == LOSS_SECTORS || losing->mode == LOSS_BLOCKS)
		apply_torn(losing, bytes, len, change);
	else if (losing->mode == LOSS_ZEROES && change->offset + change->len > *len)
		apply_bytes(bytes, len, change->offset + change->len, &nothing, 0);
	else if (losing->mode != LOSS_ZEROES && survives(losing))
		apply_change(bytes, len, change);
}

static bool write_file(struct losing *losing, const struct file *file, const char *path)
{
	uint64_t len = file->len;
	uint8_t *bytes = malloc(len ? len : 1);
	bool good;
	int fd;

	if (!bytes)
		return false;
	if (len)
		memcpy(bytes, file->bytes, len);
	for (size_t i = 0; i < file->n_changes; i++)
		apply_unsynced(losing, &bytes, &len, &file->changes[i]);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	good = fd >= 0;
	for (uint64_t at = 0; good && at < len;) {
		ssize_t put = write(fd, bytes + at, len - at);

		good = put > 0;
		at += good ? (uint64_t)put : 0;
	}
	if (!good)
		perror(path);
	if (fd >= 0)
		close(fd);
	free(bytes);
	return good;
}

static bool write_directory(struct losing *losing, const struct file *file, const char *path)
{
	struct name *names = NULL;
	size_t n = 0;
	bool good = true;

	for (size_t i = 0; i < file->n_names; i++)
		set_name(&names, &n, file->names[i].name, file->names[i].file);
	for (size_t i = 0; i < file->n_namings; i++)
		if (survives(losing))
			apply_naming(&names, &n, &file->namings[i]);
	for (size_t i = 0; good && i < n; i++) {
		const struct file *child = &losing->disk->files[names[i].file];
		char below[4096];

		if (snprintf(below, sizeof(below), "%s/%s", path, names[i].name) >=
		    (int)sizeof(below))
			good = false;
		else if (!child->directory)
			good = write_file(losing, child, below);
		else
			good = mkdir(below, 0700) == 0 && write_directory(losing, child, below);
	}
	free(names);
	return good;
}

bool disk_after_loss(const struct disk *disk, enum loss_mode mode, uint64_t seed, const char *dir)
{
	struct losing losing = { disk, mode, seed * 0x9e3779b97f4a7c15ull + 1 };

	if (disk->n == 0)
		return true; /* nothing has happened yet */
	return write_directory(&losing, &disk->files[0], dir);
}
