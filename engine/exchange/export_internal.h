/* What the files that write a dump share. */
#ifndef SNAP_ENGINE_EXCHANGE_EXPORT_INTERNAL_H
#define SNAP_ENGINE_EXCHANGE_EXPORT_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/exchange/exchange.h"
#include "engine/image/image.h"

#define EXPORT_BATCH_PAGES 512 /* as many as a run of a walk has */

/* Where an archive has the dump. */
#define EXPORT_FOLDER "checkpoint/"

struct tar_out;

/* A directory, or an archive, being written. */
struct export_dir {
	struct store_view *view;
	const struct generation *gen;
	int dirfd;
	const char *path;
	struct tar_out *tar; /* an archive: its files become members, one after the other */
	const char *prefix;  /* of their names there */
	const struct export_options *options;
	struct export_result *result;
	bool imported;	     /* the generation holds the files of a dump */
	bool has_parents;    /* whose memory was in several directories */
	uint32_t pages_id;   /* of the last file of pages written */
	uint64_t pages;	     /* of memory written */
	uint8_t *buf;	     /* EXPORT_BATCH_PAGES */
	bool has_tcp;	     /* there are TCP connections that go on */
	bool seccomp_shared; /* all threads of each task have the same filters */
	struct export_cgroups *cgroups;
	struct export_files *files;
};

/* Makes a new file; `fd` is closed by export_close(), which also syncs it where `rc` is R_OK, and
 * returns `rc` or R_FAILED. */
int export_file(struct export_dir *ex, const char *file, int *fd);
int export_close(struct export_dir *ex, const char *file, int fd, int rc);

/* A new file with these bytes; one with those of an object, whose absent pages are holes. */
int export_bytes(struct export_dir *ex, const char *file, const void *data, size_t len);
int export_object(struct export_dir *ex, const char *name, const struct object *object,
		  const char *file);

/* All files of the dump. */
int export_all(struct export_dir *ex);

/* What an archive has beside the dump, but for its statistics, which are known when it is written.
 */
int export_container(struct export_dir *ex);
int export_container_statistics(struct export_dir *ex);

/* Pages of the object `name`, by their numbers.  R_OK, R_DAMAGED (reported), R_FAILED. */
int export_read(struct export_dir *ex, const char *name, const page_no *numbers, size_t n,
		void *buf);

/* Reads an image of one entry.  R_NOT_FOUND is not reported. */
int export_read_one(struct export_dir *ex, enum image_kind_id id, const char *name,
		    ProtobufCMessage **message);

/* An image of snap's own as CRIU reads it. */
int export_own(struct export_dir *ex, const char *name, const struct object *object);

/* Makes an image of what was written to `writer`, and frees that. */
int export_image(struct export_dir *ex, const char *file, struct image_writer *writer);

/* The image of a deleted file, with its contents. */
int export_ghost(struct export_dir *ex, const char *name, const char *file);

/* What CRIU calls the namespace of a kind (CLONE_NEW...) that all tasks are in. */
uint32_t export_namespace_id(uint32_t flag);

/* Open files in CRIU's form, between begin and end: files.img, tty-info.img, remap-fpath.img. */
int export_files_begin(struct export_dir *ex);
void export_files_end(struct export_dir *ex);
int export_files(struct export_dir *ex);
int export_tty_info(struct export_dir *ex);
int export_remaps(struct export_dir *ex);

/* Filters of system calls: looked at first, then changed in each entry that tells of them. */
int export_seccomp_begin(struct export_dir *ex);
void export_seccomp_thread(const struct export_dir *ex, CoreEntry *entry);
void export_seccomp_filters(const struct export_dir *ex, SeccompEntry *entry);

/* Control groups in CRIU's form, between begin and end: cgroup.img if there is anything to tell,
 * the set a thread is in (0: none), and the one that stands for whoever restores (0: no sets). */
int export_cgroups_begin(struct export_dir *ex);
void export_cgroups_end(struct export_dir *ex);
int export_cgroups(struct export_dir *ex);
uint32_t export_cgroup_set(const struct export_dir *ex, uint32_t tid);
uint32_t export_cgroup_root_set(const struct export_dir *ex);
/* Leaves those settings of a group and those below that CRIU has to make. */
void export_cgroup_dir(CgroupDirEntry *dir);

/* The secret "sealed-shmem-3" as memory of that number, if it is to be revealed. */
int export_secret(struct export_dir *ex, const char *name, const struct object *object);

/* The tree "pages-12" as pagemap-12.img and a file of pages. */
int export_memory(struct export_dir *ex, const char *name, const struct object *object);

/* What the take cost, as the image of statistics. */
int export_statistics(struct export_dir *ex);

#endif
