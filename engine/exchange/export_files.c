/*
 * Open files as CRIU has them, where that is not how snap keeps them:
 * - a terminal's master and slave have one entry each in tty-info, and a path each;
 * - what an epoll watches is named by a number that leads there now, not by one closed since;
 * - a file deleted under one of its names is opened by the other: CRIU takes away the name it gets
 *   one by;
 * - namespaces have the numbers of `ids`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_files.h"
#include "engine/image/image.h"

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

int entries_add(struct entries *e, ProtobufCMessage *message)
{
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 64;
		ProtobufCMessage **more = reallocarray(e->list, room, sizeof(*more));

		if (!more) {
			image_free_message(message);
			return out_of_memory();
		}
		e->list = more;
		e->room = room;
	}
	e->list[e->n++] = message;
	return R_OK;
}

int entries_read(struct export_dir *ex, enum image_kind_id id, const char *name, struct entries *e)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	struct object object;
	void *data;
	size_t len;
	int rc = store_object(ex->view, ex->gen->number, name, &object);

	if (rc == R_OK)
		rc = store_read_object(ex->view, &object, &data, &len);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = image_open(&reader, id, name, data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK)
		rc = entries_add(e, message);
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

void entries_free(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		image_free_message(e->list[i]);
	free(e->list);
}

static int add_table(const char *name, const struct object *object, void *arg)
{
	struct export_dir *ex = arg;
	struct export_files *f = ex->files;
	struct table *more;
	uint32_t id;

	(void)object;
	if (sscanf(name, "fdinfo-%u", &id) != 1)
		return R_OK;
	more = reallocarray(f->tables, f->n_tables + 1, sizeof(*more));
	if (!more)
		return out_of_memory();
	f->tables = more;
	more[f->n_tables] = (struct table){ .id = id };
	return entries_read(ex, IMAGE_FDINFO, name, &more[f->n_tables++].fds);
}

static FileEntry *find_file(const struct export_files *f, uint32_t id)
{
	for (size_t i = 0; i < f->files.n; i++)
		if (file_at(f, i)->id == id)
			return file_at(f, i);
	return NULL;
}

/* ---- epoll ---- */

static uint32_t file_behind(const struct table *table, uint32_t fd)
{
	for (size_t i = 0; i < table->fds.n; i++) {
		const FdinfoEntry *entry = (const FdinfoEntry *)table->fds.list[i];

		if (entry->fd == fd)
			return entry->id;
	}
	return 0;
}

/* Is there another row that would have this number for the same file? */
static bool is_taken(const EventpollFileEntry *epfd, const uint32_t *ids, size_t row, uint32_t fd)
{
	for (size_t i = 0; i < epfd->n_tfd; i++)
		if (i != row && ids[i] == ids[row] && epfd->tfd[i]->tfd == fd)
			return true;
	return false;
}

static bool renumber(const struct table *table, EventpollFileEntry *epfd, const uint32_t *ids,
		     size_t row)
{
	if (file_behind(table, epfd->tfd[row]->tfd) == ids[row])
		return true;
	for (size_t i = 0; i < table->fds.n; i++) {
		const FdinfoEntry *entry = (const FdinfoEntry *)table->fds.list[i];

		if (entry->id != ids[row] || is_taken(epfd, ids, row, entry->fd))
			continue;
		epfd->tfd[row]->tfd = entry->fd;
		return true;
	}
	return false;
}

static const struct table *holder_of(const struct export_files *f, uint32_t id)
{
	for (size_t i = 0; i < f->n_tables; i++)
		for (size_t k = 0; k < f->tables[i].fds.n; k++)
			if (((const FdinfoEntry *)f->tables[i].fds.list[k])->id == id)
				return &f->tables[i];
	return NULL;
}

static int convert_epoll(const struct export_files *f, EventpollFileEntry *epfd)
{
	const struct table *table = holder_of(f, epfd->id);
	uint32_t *ids = calloc(epfd->n_tfd + 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return out_of_memory();
	/* They stand in the order of the rows. */
	for (size_t i = 0; i < f->epolls.n && n < epfd->n_tfd; i++) {
		const SnapEpollEntry *entry = (const SnapEpollEntry *)f->epolls.list[i];

		if (entry->id == epfd->id)
			ids[n++] = entry->file_id;
	}
	for (size_t i = 0; table && i < n; i++)
		if (!renumber(table, epfd, ids, i))
			note("open file %u: the epoll watches number %u, which is closed, and no "
			     "other leads there; CRIU will not restore it",
			     epfd->id, epfd->tfd[i]->tfd);
	free(ids);
	return R_OK;
}

/* ---- deleted under one of several names ---- */

static bool is_linked(const RemapFilePathEntry *remap)
{
	return remap->has_remap_type && remap->remap_type == REMAP_TYPE__LINKED;
}

static int convert_remap(struct export_files *f, const RemapFilePathEntry *remap)
{
	FileEntry *file = find_file(f, remap->orig_id), *other = find_file(f, remap->remap_id);
	char *name;

	if (!is_linked(remap) || !file || !other || !file->reg || !other->reg)
		return R_OK;
	name = strdup(other->reg->name);
	if (!name)
		return out_of_memory();
	free(file->reg->name);
	file->reg->name = name;
	return R_OK;
}

int export_remaps(struct export_dir *ex)
{
	const struct entries *remaps = &ex->files->remaps;
	struct image_writer writer;
	bool any = false;

	image_writer_init(&writer, IMAGE_REMAP_FPATH);
	for (size_t i = 0; i < remaps->n; i++) {
		if (is_linked((const RemapFilePathEntry *)remaps->list[i]))
			continue;
		image_add(&writer, remaps->list[i]);
		any = true;
	}
	if (any)
		return export_image(ex, "remap-fpath.img", &writer);
	image_writer_free(&writer);
	return R_OK;
}

/* ---- all of them ---- */

static int convert(struct export_files *f, FileEntry *file)
{
	if (file->epfd)
		return convert_epoll(f, file->epfd);
	if (file->type == FD_TYPES__TTY && file->tty)
		return export_tty(f, file->tty);
	/* CRIU would shut down what is not. */
	if (file->isk && !file->isk->shutdown)
		file->isk->has_shutdown = false;
	if (file->nsf)
		file->nsf->ns_id = export_namespace_id(file->nsf->ns_cflag);
	return R_OK;
}

int export_files_begin(struct export_dir *ex)
{
	struct export_files *f = ex->files = calloc(1, sizeof(*ex->files));
	size_t n;
	int rc = f ? entries_read(ex, IMAGE_FILES, "files", &f->files) : out_of_memory();

	if (rc == R_OK)
		rc = entries_read(ex, IMAGE_SNAP_EPOLL, "snap-epoll", &f->epolls);
	if (rc == R_OK)
		rc = entries_read(ex, IMAGE_REMAP_FPATH, "remap-fpath", &f->remaps);
	if (rc == R_OK)
		rc = store_object_each(ex->view, ex->gen->number, add_table, ex);
	if (rc != R_OK)
		return rc;
	n = f->files.n; /* those added meanwhile are as they should be */
	for (size_t i = 0; i < n; i++)
		if (file_at(f, i)->id >= f->next_id)
			f->next_id = file_at(f, i)->id + 1;
	for (size_t i = 0; rc == R_OK && i < n; i++)
		rc = convert(f, file_at(f, i));
	for (size_t i = 0; rc == R_OK && i < f->remaps.n; i++)
		rc = convert_remap(f, (const RemapFilePathEntry *)f->remaps.list[i]);
	return rc;
}

void export_files_end(struct export_dir *ex)
{
	struct export_files *f = ex->files;

	if (!f)
		return;
	entries_free(&f->files);
	entries_free(&f->epolls);
	entries_free(&f->remaps);
	for (size_t i = 0; i < f->n_tables; i++)
		entries_free(&f->tables[i].fds);
	free(f->tables);
	free(f);
	ex->files = NULL;
}

int export_files(struct export_dir *ex)
{
	const struct entries *files = &ex->files->files;
	struct image_writer writer;

	image_writer_init(&writer, IMAGE_FILES);
	for (size_t i = 0; i < files->n; i++)
		image_add(&writer, files->list[i]);
	return export_image(ex, "files.img", &writer);
}
