/*
 * Names that a restore gives for the moment, and what one that was killed left under them.
 *
 * ".snap-ID-FILE-N": ID is a random number of the restore, FILE a hash of the name it is for.  What
 * bears such a name is either half of new contents or what the file was before.  Beside it, and
 * before it, stands ".snap-ID", which the restore has locked (flock) as long as it is at work: the
 * kernel lets go of that whatever ends it, and everybody can ask, also from other namespaces.  So
 * what stands beside no such file, or beside one that is not locked, was left by one that is gone.
 * It stays until a restore has put the same file back.
 */
#ifndef SNAP_ENGINE_FILES_BACK_LEFT_H
#define SNAP_ENGINE_FILES_BACK_LEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACK_NAME_BYTES 96

/* The names of one restore; all zeroes before the first. */
struct back_names {
	uint64_t id;
	unsigned int serial;
	char **folders; /* where the locked file is, n of them */
	size_t n, room;
	int *locks; /* one for each file system: the other folders have links to it */
	size_t n_locks;
};

/* A new name for `target`, which has no slash in it, beside it in the open folder `dir` of the path
 * `folder`.  R_OK or R_FAILED (reported). */
int back_names_new(struct back_names *names, int dir, const char *folder, const char *target,
		   char name[BACK_NAME_BYTES]);
/* Removes the locked files, when nothing bears such a name any more or what does may be removed. */
void back_names_end(struct back_names *names);

/* Is it such a name, or a locked file, of whatever restore? */
bool back_left_is_name(const char *name);
/* Is it one by a restore that is still at work in the open folder `dir`, or may be? */
bool back_left_is_live(int dir, const char *name);

/* Removes what a restore that is gone has left for `target` in the open folder `dir`.  How many
 * there were. */
size_t back_left_remove(int dir, const char *target);

#endif
