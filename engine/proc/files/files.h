/*
 * The files of a target besides its open descriptions: their cookies, and their contents where
 * those are stored.  DESIGN.md tells what is read when.
 */
#ifndef SNAP_ENGINE_FILES_H
#define SNAP_ENGINE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/dedup.h"
#include "engine/engine.h"
#include "engine/proc/files/cookie.h"

struct dump_ctx;
struct taken_file;

/* What the last generation of the lineage noted, by inode; read before the freeze.  NULL: out of
 * memory, and then nothing is known. */
struct file_memory;
struct file_memory *file_memory_load(struct ingest *ingest);
void file_memory_free(struct file_memory *memory);

/* What else than executable is stored if it is mapped privately: data libraries lean on, such as
 * locales, but no database. */
#define FILES_MAPPED_MAX_BYTES (16u << 20)

/* A file that changed less than that before a take may change again within the same tick of its
 * file system's clock (the coarsest: FAT, 2 s), so its ctime proves nothing at the next take. */
#define FILES_SETTLED_NS 2000000000ll

struct files_options {
	enum cookie_level level;
	bool store_mapped; /* contents of executables and libraries */
	bool read_all;	   /* trust nothing of the last generation */
	const struct file_memory *memory;
	int64_t frozen_at_ns; /* CLOCK_REALTIME */
};

/*
 * When the tree runs again (or is held to be ended): makes the cookies of all regular files with a
 * path, stores the contents of what is mapped, and writes the images "files" and "snap-files".
 * Nothing of the target is touched.  R_OK or R_FAILED (reported).
 */
int files_take(struct dump_ctx *ctx, const struct files_options *options,
	       struct file_summary *summary);

/* For a round of reading ahead, which stores memory only but becomes the newest generation: what
 * the one before knew of files goes on with it.  R_OK or R_FAILED (reported). */
int files_carry(struct ingest *ingest);

/* ---- within this room ---- */

/* One inode of the take. */
struct file_inode {
	struct taken_file **files; /* its descriptions and mappings, n of them */
	size_t n;
	const char *name;
	bool mapped, executable, private_map; /* of the tree's mappings */
	bool shared_write;		      /* mapped such that writes move no time */
	struct cookie cookie;
	bool settled;
	enum cookie_level level;
	int32_t handle_type;
	uint8_t handle[128];
	size_t handle_bytes; /* 0: none */
	const char *stored;  /* object of its contents; NULL: none */
};

/* The same for the entries of files that are stored to be put back; their contents, as an object.
 */
const SnapDataEntry *file_memory_data(const struct file_memory *memory, uint64_t dev, uint64_t ino);
/* The entry of the same inode with the same times and size, if ctime proves that it was not written
 * to since; NULL if there is none.  Both entries live as long as `memory`. */
const SnapFileEntry *file_memory_find(const struct file_memory *memory, const struct cookie *now,
				      const RegFileEntry **reg);
/* The object `name` of that generation; NULL if it has none. */
const struct object *file_memory_object(const struct file_memory *memory, const char *name);

/* Opens for reading without a trace: the access time stays, nothing blocks.  -1 with errno. */
int file_open_quietly(int dirfd, const char *name);
/* Is there a lease on this inode that reading it would break?  Looks once, at the first call. */
struct file_leases {
	bool looked;
	uint64_t (*list)[2]; /* device, inode */
	size_t n;
};
bool file_is_leased(struct file_leases *leases, uint64_t dev, uint64_t ino);

/*
 * Stores the first `bytes` bytes of `fd` as the object `name`, holes left out, and sums them up
 * into
 * `*sum` (NULL: not wanted).  R_OK, R_NOT_FOUND if the file became shorter (the object is there,
 * and of no use), R_FAILED (reported).
 */
int blob_store(struct ingest *ingest, const char *name, int fd, uint64_t bytes,
	       struct file_sum *sum);
/* The name of the object for a path: the same in every generation. */
#define BLOB_NAME_BYTES 32
void blob_name(const char *prefix, const char *path, unsigned int twin, char name[BLOB_NAME_BYTES]);

#endif
