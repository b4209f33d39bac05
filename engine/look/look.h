/*
 * Looking into a generation without bringing it to life: its tasks, their files, their memory as
 * it was at any address.  Reads the store only; nothing here touches a process or writes a file
 * but the one it is given.
 *
 *   load.c    images into structs
 *   memory.c  bytes at addresses
 *   stored.c  contents of mapped files
 *   core.c    an ELF core file
 *   queues.c  what waits in pipes and sockets
 *   stacks.c  stacks of threads
 *   changes.c, dirty.c  what differs from another generation; pairs.c  what is which there
 *   search.c  bytes in many generations; matcher.c what is looked for, scanned.c what has been
 * looked at, places.c where it was found
 *   secret.c  sealed memory, where it is asked for
 */
#ifndef SNAP_ENGINE_LOOK_LOOK_H
#define SNAP_ENGINE_LOOK_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/image/image.h"
#include "store/seal.h"
#include "store/store.h"

/* Room for the name of any object of a generation ("pages-shmem-3"). */
#define LOOK_NAME_MAX 64

/* One thread; `core` is never NULL, `extra` is NULL where the image is absent (an import). */
struct look_thread {
	uint32_t tid;
	CoreEntry *core;
	SnapThreadEntry *extra;
};

/* One process.  Of a zombie there is nothing but `threads[0]`. */
struct look_task {
	uint32_t pid, ppid, pgid, sid;
	struct look_thread *threads; /* [0] is the leader */
	size_t n_threads;
	MmEntry *mm;
	FsEntry *fs;
	SnapTaskEntry *extra;
	FdinfoEntry **fds; /* of its table of descriptors, in the order of the image */
	size_t n_fds;
	struct object pages; /* private memory, by address */
	bool has_pages;
};

/* All images of one generation. */
struct look {
	struct store_view *view;
	struct generation gen;
	struct look_task *tasks; /* parents before children */
	size_t n_tasks;
	FileEntry **files; /* sorted by id */
	size_t n_files;
	MemfdInodeEntry **memfds;
	size_t n_memfds;
	uint32_t *deleted; /* ids of files whose name was deleted */
	size_t n_deleted;
	SnapFileEntry **notes; /* what a take notes about files, sorted by id; none in an import */
	size_t n_notes;
	bool reveal; /* set by look_reveal() */
	const struct store_keys *keys;
};

/*
 * Loads the images of `gen`; the view must stay open until look_close().  R_OK; R_DAMAGED (an image
 * is missing or makes no sense, named) or R_FAILED, both reported.
 */
int look_open(struct store_view *view, const struct generation *gen, struct look **look);
void look_close(struct look *look); /* NULL is nothing */

/*
 * Calls `fn` for each entry of an image without payload, which is none if there is no such image;
 * `fn` owns the message and returns other than R_OK to stop, which is then the result.  R_OK,
 * R_DAMAGED or R_FAILED, reported.
 */
int look_each_entry(const struct look *look, enum image_kind_id id, const char *name,
		    int (*fn)(ProtobufCMessage *message, void *arg), void *arg);

/* The task of that pid, NULL if there is none. */
const struct look_task *look_task(const struct look *look, uint32_t pid);

/* The open file of that id, NULL if there is none. */
const FileEntry *look_file(const struct look *look, uint32_t id);

/* Had the file of that id lost the name it was opened by? */
bool look_is_deleted(const struct look *look, uint32_t id);

/* The memory file of a descriptor or mapping, NULL if `file` is none. */
const MemfdInodeEntry *look_memfd(const struct look *look, const FileEntry *file);

/* What the take noted about the open file of that id, NULL if there is nothing. */
const SnapFileEntry *look_note(const struct look *look, uint32_t id);

/* The object that holds the contents of the file a mapping shows.  R_OK; R_NOT_FOUND if they are
 * not stored (not reported); R_DAMAGED. */
int look_stored(const struct look *look, const VmaEntry *vma, struct object *object);

/* The path of the file whose contents are the object of that name, NULL if it is no such object. */
const char *look_stored_path(const struct look *look, const char *object);

/* What a mapping shows, as /proc/PID/maps would name it: a path, "[heap]", or "" for anonymous
 * memory.  Lives as long as `look`. */
const char *look_vma_name(const struct look *look, const VmaEntry *vma);

/* True if the bytes of the mapping are a file's wherever the task has not written to it. */
bool look_vma_is_file(const VmaEntry *vma);

/* True if it shows memory of memfd_secret(2), which is sealed: its bytes are told only after
 * look_reveal(). */
bool look_vma_is_secret(const struct look *look, const VmaEntry *vma);

/* From now on the bytes of secret memory are told like any others.  `keys` must stay open; NULL:
 * the store has none, which is an error (R_UNSUPPORTED, reported) where something sealed is met. */
void look_reveal(struct look *look, const struct store_keys *keys);

/* Bytes that a task has mapped of secret memory and that stay sealed; 0 after look_reveal(). */
uint64_t look_sealed_bytes(const struct look *look, const struct look_task *task);

/* What the bytes of a page are. */
enum look_page {
	LOOK_NONE,   /* nothing is mapped there, or what is is the kernel's */
	LOOK_STORED, /* in the generation */
	LOOK_ZERO,   /* zeroes: never touched, or known to be zero */
	LOOK_FILE,   /* those of the mapped file, which are in the generation only if it stored them
		      */
	LOOK_SEALED, /* secret memory */
	LOOK_KINDS
};

/* A run of pages of one kind.  `numbers` has those of LOOK_STORED, LOOK_ZERO and LOOK_FILE pages
 * that the store keeps track of; it is NULL for all others. */
struct look_run {
	uint64_t start; /* address */
	uint64_t n;	/* pages */
	enum look_page kind;
	bool shared; /* LOOK_STORED, LOOK_ZERO: not the task's own but of shared memory */
	const page_no *numbers;
	struct sealed *sealed; /* of LOOK_SEALED pages that are revealed, otherwise NULL */
	uint64_t sealed_index; /* of the first of them */
};

/*
 * Calls `fn` for each run of pages in [start, end) of a mapping, in ascending order, none left out.
 * `fn` returns non-zero to stop, which is then the result; otherwise R_OK, R_DAMAGED (reported) or
 * R_FAILED.
 */
int look_vma_walk(const struct look *look, const struct look_task *task, const VmaEntry *vma,
		  uint64_t start, uint64_t end, int (*fn)(const struct look_run *run, void *arg),
		  void *arg);

/* True if the bytes of the pages of a run can be read by look_run_read(); zeroes need not be. */
bool look_run_has_bytes(const struct look_run *run);

/* Reads `n` pages of a run that has bytes, from its page `from` on.  Results as of look_read(), and
 * R_UNSUPPORTED. */
int look_run_read(const struct look *look, const struct look_task *task, const struct look_run *run,
		  uint64_t from, size_t n, void *buf);

/* Reads the `n` pages with these numbers, which lie at `address` of the task, into `buf`.  R_OK,
 * R_DAMAGED (reported with the address) or R_FAILED. */
int look_read(const struct look *look, const struct look_task *task, uint64_t address,
	      const page_no *numbers, size_t n, void *buf);

/*
 * Reads whole pages of a task: `n` pages from `address` (a multiple of PAGE_BYTES) on into `buf`,
 * of each of which `kinds` tells what it is; pages of mapped files that are stored, and secret ones
 * that are revealed, count as LOOK_STORED, and all others are filled with zeroes.  Results as of
 * look_read().
 */
int look_pages(const struct look *look, const struct look_task *task, uint64_t address, size_t n,
	       void *buf, enum look_page *kinds);

/*
 * Writes an ELF core file of one process to `fd` (an empty regular file, positioned at 0): threads
 * with their registers, mappings, NT_FILE, what the generation holds of its memory; pages that were
 * never touched are holes.  Pages that are only those of a mapped file are in it with
 * `file_contents` and where the generation stored the file; otherwise just the heads of programs
 * and libraries are.  R_OK, R_UNSUPPORTED (a zombie; another processor), R_DAMAGED, R_FAILED; all
 * reported.
 */
int look_core(const struct look *look, const struct look_task *task, bool file_contents, int fd);

#endif
