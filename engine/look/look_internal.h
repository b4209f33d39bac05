/* What the files of this folder share. */
#ifndef SNAP_ENGINE_LOOK_LOOK_INTERNAL_H
#define SNAP_ENGINE_LOOK_LOOK_INTERNAL_H

#include "engine/look/look.h"

/* Bytes that grow.  Being out of memory is remembered, and reported once. */
struct look_bytes {
	uint8_t *data;
	size_t len, room;
	bool failed;
};

/* Appends; NULL `from` appends zeroes. */
void look_bytes_add(struct look_bytes *bytes, const void *from, size_t len);

/* Zeroes up to the next multiple of `align`. */
void look_bytes_align(struct look_bytes *bytes, size_t align);

/* As look_vma_walk() for a mapping of secret memory. */
int look_secret_walk(const struct look *look, const VmaEntry *vma, uint64_t start, uint64_t end,
		     int (*fn)(const struct look_run *run, void *arg), void *arg);

/* The name of the object that holds the shared memory of this inode, into LOOK_NAME_MAX bytes. */
void look_memory_name(uint64_t shmid, char *name);

/* The same of what a mapping shows; false if that is no shared memory. */
bool look_vma_memory(const struct look *look, const VmaEntry *vma, char *name);

/* Makes `look->notes` ready for look_note(). */
void look_sort_notes(struct look *look);

/* The bytes of an image, freed by the caller.  R_OK, R_NOT_FOUND (not reported), R_DAMAGED,
 * R_FAILED (reported). */
int look_load_bytes(const struct look *look, const char *name, void **data, size_t *len);

/* Copies an object of stored contents into a new memory file.  R_OK with `*fd`, R_DAMAGED,
 * R_FAILED; reported, with `path` as its name. */
int look_copy(const struct look *look, const struct object *object, const char *path, int *fd);

/* The notes of a core file, as PT_NOTE has them.  R_OK or a result that has been reported. */
int look_core_notes(const struct look *look, const struct look_task *task,
		    struct look_bytes *notes);

#endif
