/* The registry of a take: its memory, its images, its end. */
#include "engine/proc/fds/fds_internal.h"
#include "engine/proc/fds/ghost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"

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
	(*take)->self = getpid();
	(*take)->ghost_max_bytes = ghost_max_bytes;
	/* We hold one descriptor for each open file of the whole tree. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return R_OK;
}

int take_note_result(struct fds_take *take, int result)
{
	if (result != R_OK && take->result != R_FAILED)
		take->result = result;
	return result;
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

void fds_take_set_prepared(struct fds_take *take, struct fds_prepared *prepared)
{
	take->prepared = prepared;
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

pid_t fds_take_root(struct fds_take *take)
{
	return take->n_pids ? take->pids[0] : 0;
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
			take_note_result(take, fd_kinds[i]->dump_end(take));
	}
	take_note_result(take, locks_take(take));
	if (take->result != R_OK)
		return take->result;
	take_note_result(take, put_tables(take));
	for (int i = 0; i < IMAGE_KINDS; i++) {
		if (i == IMAGE_FILES || i == IMAGE_SNAP_FILES || !take->image_used[i])
			continue;
		take_note_result(take, put_image(take, &take->images[i],
						 image_kind((enum image_kind_id)i)->name));
		take->image_used[i] = false;
	}
	return take->result;
}

int fds_take_finish_files(struct fds_take *take)
{
	static const enum image_kind_id images[] = { IMAGE_FILES, IMAGE_SNAP_FILES };

	for (size_t i = 0; i < take->n_files; i++) {
		fds_take_put(take, IMAGE_FILES, &take->files[i]->entry.base, NULL, 0);
		if (take->files[i]->more)
			fds_take_put(take, IMAGE_SNAP_FILES, &take->files[i]->more->base, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
		if (!take->image_used[images[i]])
			continue;
		take_note_result(
		    take, put_image(take, &take->images[images[i]], image_kind(images[i])->name));
		take->image_used[images[i]] = false;
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
	ghosts_take_end(take);
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
	free(take->secrets);
	free(take);
}
