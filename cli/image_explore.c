/* Processes and their files. */
#include "cli/image_explore.h"

#include "base/result.h"
#include "base/warn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void free_entries(ProtobufCMessage **entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image_free_message(entries[i]);
	free(entries);
}

static int collect(struct image_reader *reader, ProtobufCMessage ***entries, size_t *n)
{
	ProtobufCMessage *message;
	size_t room = 0;
	int result;

	while ((result = image_next(reader, &message)) == R_OK) {
		if (*n == room) {
			ProtobufCMessage **more;

			room = room ? 2 * room : 16;
			more = reallocarray(*entries, room, sizeof(**entries));
			if (!more) {
				image_free_message(message);
				warn("out of memory");
				return R_FAILED;
			}
			*entries = more;
		}
		(*entries)[(*n)++] = message;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

int read_entries(const struct image_source *source, enum image_kind_id kind, const char *name,
		 bool optional, ProtobufCMessage ***entries, size_t *n)
{
	struct image_reader reader;
	void *data = NULL;
	size_t len;
	int result;

	*entries = NULL;
	*n = 0;
	result = image_source_load(source, name, &data, &len);
	if (result == R_NOT_FOUND && optional)
		return R_OK;
	if (result == R_NOT_FOUND)
		warn("there is no image %s", name);
	if (result != R_OK)
		return result;
	result = image_open(&reader, kind, name, data, len);
	/* The head of a pagemap is not looked at. */
	if (result == R_OK && kind == IMAGE_PAGEMAP) {
		const void *head;
		uint32_t head_len = 0;

		result = image_payload(&reader, 4, &head);
		if (result == R_OK) {
			memcpy(&head_len, head, 4);
			result = image_payload(&reader, head_len, &head);
		}
	}
	if (result == R_OK)
		result = collect(&reader, entries, n);
	free(data);
	if (result == R_OK)
		return R_OK;
	free_entries(*entries, *n);
	*entries = NULL;
	*n = 0;
	return result;
}

/* Reads an image that every process has, and of at least one entry. */
static int read_first(const struct exploring *e, enum image_kind_id kind, uint32_t number,
		      ProtobufCMessage ***entries, size_t *n)
{
	char name[64];
	int result;

	snprintf(name, sizeof(name), "%s-%u", image_kind(kind)->name, number);
	result = read_entries(e->source, kind, name, false, entries, n);
	if (result == R_OK && *n == 0) {
		warn("image %s: is empty", name);
		result = R_DAMAGED;
	}
	return result == R_NOT_FOUND ? R_DAMAGED : result;
}

int explore_ps(const struct exploring *e, json_t **list)
{
	*list = json_array();
	for (size_t i = 0; i < e->n_processes; i++) {
		const PstreeEntry *p = (const PstreeEntry *)e->processes[i];
		ProtobufCMessage **cores;
		const CoreEntry *core;
		json_t *threads = json_array(), *comm;
		size_t n;
		int result = read_first(e, IMAGE_CORE, p->pid, &cores, &n);

		if (result != R_OK) {
			json_decref(threads);
			return result;
		}
		core = (const CoreEntry *)cores[0];
		/* A command name may be any bytes. */
		comm = json_string(core->tc ? core->tc->comm : "");
		for (size_t k = 0; k < p->n_threads; k++)
			json_array_append_new(threads, json_integer(p->threads[k]));
		json_array_append_new(
		    *list, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "pid", (json_int_t)p->pid,
				     "ppid", (json_int_t)p->ppid, "pgid", (json_int_t)p->pgid,
				     "sid", (json_int_t)p->sid, "threads", threads, "comm",
				     comm ? comm : json_string("?")));
		free_entries(cores, n);
	}
	return R_OK;
}

const FileEntry *explore_file(const struct exploring *e, uint32_t id)
{
	for (size_t i = 0; i < e->n_files; i++)
		if (((const FileEntry *)e->files[i])->id == id)
			return (const FileEntry *)e->files[i];
	return NULL;
}

static json_t *unix_words(const UnixSkEntry *usk)
{
	char text[300];
	size_t len = (size_t)snprintf(text, sizeof(text), "unix[%u (%u)%s", usk->ino, usk->peer,
				      usk->name.len ? " " : "");

	/* Names may hold any bytes, and often begin with NUL. */
	for (size_t i = 0; i < usk->name.len && len + 6 < sizeof(text); i++) {
		uint8_t c = usk->name.data[i];

		if (c == '\0' && i + 1 == usk->name.len)
			break;
		if (c > 32 && c < 127)
			text[len++] = (char)c;
		else
			len += (size_t)snprintf(text + len, 4, "=%02X", c);
	}
	text[len++] = ']';
	return json_stringn(text, len);
}

json_t *explore_file_words(const struct exploring *e, FdTypes type, uint32_t id)
{
	const FileEntry *file = explore_file(e, id);
	const ProtobufCEnumValue *word;
	char text[64];
	json_t *path;

	if (type == FD_TYPES__REG) {
		path = json_string(file && file->reg ? file->reg->name : "unknown path");
		return path ? path : json_string("?");
	}
	if (type == FD_TYPES__PIPE && file && file->pipe) {
		snprintf(text, sizeof(text), "pipe[%u]", file->pipe->pipe_id);
		return json_string(text);
	}
	if (type == FD_TYPES__UNIXSK && file && file->usk)
		return unix_words(file->usk);
	word = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, (int)type);
	snprintf(text, sizeof(text), "%s.%u", word ? word->name : "?", id);
	return json_string(text);
}

int explore_table(const struct exploring *e, uint32_t pid, ProtobufCMessage ***entries, size_t *n)
{
	ProtobufCMessage **ids;
	size_t n_ids;
	char name[64];
	int result;

	snprintf(name, sizeof(name), "ids-%u", pid);
	result = read_entries(e->source, IMAGE_IDS, name, true, &ids, &n_ids);
	*entries = NULL;
	*n = 0;
	if (result == R_OK && n_ids > 0) {
		snprintf(name, sizeof(name), "fdinfo-%u",
			 ((const TaskKobjIdsEntry *)ids[0])->files_id);
		result = read_entries(e->source, IMAGE_FDINFO, name, true, entries, n);
	}
	if (result == R_OK && n_ids == 0)
		result = R_NOT_FOUND;
	free_entries(ids, n_ids);
	return result;
}

static int fds_of(const struct exploring *e, uint32_t pid, json_t *list)
{
	ProtobufCMessage **table = NULL, **fs = NULL;
	size_t n_table = 0, n_fs = 0;
	json_t *fds = json_array();
	int result = explore_table(e, pid, &table, &n_table);

	for (size_t i = 0; i < n_table; i++) {
		const FdinfoEntry *fd = (const FdinfoEntry *)table[i];
		const ProtobufCEnumValue *type =
		    protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, (int)fd->type);

		json_array_append_new(
		    fds, json_pack("{s:I, s:s, s:I, s:o}", "fd", (json_int_t)fd->fd, "type",
				   type ? type->name : "?", "id", (json_int_t)fd->id, "file",
				   explore_file_words(e, fd->type, fd->id)));
	}
	if (result == R_OK)
		result = read_first(e, IMAGE_FS, pid, &fs, &n_fs);
	if (result == R_OK) {
		const FsEntry *f = (const FsEntry *)fs[0];

		json_array_append_new(
		    list, json_pack("{s:I, s:O, s:o, s:o}", "pid", (json_int_t)pid, "fds", fds,
				    "cwd", explore_file_words(e, FD_TYPES__REG, f->cwd_id), "root",
				    explore_file_words(e, FD_TYPES__REG, f->root_id)));
	}
	json_decref(fds);
	free_entries(table, n_table);
	free_entries(fs, n_fs);
	return result;
}

int explore_fds(const struct exploring *e, json_t **list)
{
	int result = R_OK;

	*list = json_array();
	for (size_t i = 0; i < e->n_processes && result == R_OK; i++) {
		uint32_t pid = ((const PstreeEntry *)e->processes[i])->pid;

		result = fds_of(e, pid, *list);
		if (result == R_NOT_FOUND)
			result = R_OK; /* it has ended */
	}
	return result;
}
