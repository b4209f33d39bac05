#ifndef SNAP_ENGINE_FILES_BACK_INTERNAL_H
#define SNAP_ENGINE_FILES_BACK_INTERNAL_H

#include <sys/stat.h>

#include "engine/image/image.h"
#include "engine/proc/files/back.h"
#include "engine/proc/files/back_left.h"
#include "store/store.h"

enum back_verb {
	BACK_EXCHANGED, /* `name` was exchanged with `other`, which is what was there */
	BACK_MADE,	/* `name` was not there */
	BACK_ASIDE,	/* `name` was moved to `other` */
	BACK_WRITTEN,	/* `name` was written in place; `other` is a copy of what it was */
	BACK_CHANGED,	/* owner, mode, times or attributes of folder `name`, as in `st` */
};

/* One step that can be taken back. */
struct back_step {
	enum back_verb verb;
	char *folder, *name, *other;
	struct stat st;
};

struct back {
	struct store_view *view;
	uint64_t generation;
	const struct progress *progress;
	ProtobufCMessage **messages;
	SnapDataEntry **entries; /* as in the image: folders before what is in them */
	size_t n, room;
	struct back_step *steps;
	size_t n_steps, room_steps;
	size_t changed;
	struct back_names names; /* made up for the moment */
	uint64_t (*held)[2];	 /* inodes that processes have open, ascending; once looked at */
	size_t n_held;
	bool looked;
};

/* Opens a folder by its absolute path, through no symbolic link.  -1 with errno set. */
int back_open_folder(const char *path);
/* The folder and the name within it of an absolute path.  `folder` has room for the whole. */
const char *back_split(const char *path, char *folder, size_t room);

/* Notes a step before or right after it is done; NULL: reported. */
struct back_step *back_note(struct back *back, enum back_verb verb, const char *folder,
			    const char *name, const char *other);

/* Writes the contents of an entry into `fd`, an empty file, or over what it has.  R_OK, R_DAMAGED,
 * R_FAILED; reported. */
int back_contents(struct back *back, const SnapDataEntry *entry, int fd);
/* Owner, mode, attributes, times, through `path`; a link's own.  R_OK or R_FAILED (reported). */
int back_dress(const SnapDataEntry *entry, const char *path);

/* Is the inode open or mapped in any process, or has it another name? */
bool back_is_held(struct back *back, const struct stat *st);

#endif
