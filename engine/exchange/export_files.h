/* What the files share that write open files in CRIU's form. */
#ifndef SNAP_ENGINE_EXCHANGE_EXPORT_FILES_H
#define SNAP_ENGINE_EXCHANGE_EXPORT_FILES_H

#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"

/* The entries of one image. */
struct entries {
	ProtobufCMessage **list;
	size_t n, room;
};

struct table {
	uint32_t id;
	struct entries fds;
};

struct export_files {
	struct entries files, epolls, remaps;
	struct table *tables;
	size_t n_tables;
	uint32_t next_id;
};

static inline FileEntry *file_at(const struct export_files *f, size_t i)
{
	return (FileEntry *)f->files.list[i];
}

/* Takes over the message, also when it fails. */
int entries_add(struct entries *e, ProtobufCMessage *message);
/* An image that is not there has no entries. */
int entries_read(struct export_dir *ex, enum image_kind_id id, const char *name, struct entries *e);
void entries_free(struct entries *e);

/* One that is open, as a master or a slave; a slave's path is added to the files. */
int export_tty(struct export_files *f, TtyFileEntry *tty);

#endif
