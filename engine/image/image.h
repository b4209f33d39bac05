/*
 * Images: small objects of a generation that hold protobuf messages, framed as CRIU frames its
 * files: one or two magic words, then entries of a little-endian u32 length and a message, some
 * followed by a payload of raw bytes whose length the message tells.
 *
 * This room knows bytes in memory only; who stores or loads them is not its business.
 */
#ifndef SNAP_ENGINE_IMAGE_H
#define SNAP_ENGINE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "arch.pb-c.h"
#include "cgroup.pb-c.h"
#include "core.pb-c.h"
#include "cpu.pb-c.h"
#include "events.pb-c.h"
#include "files.pb-c.h"
#include "fown.pb-c.h"
#include "ipc.pb-c.h"
#include "kernel.pb-c.h"
#include "mm.pb-c.h"
#include "mounts.pb-c.h"
#include "namespaces.pb-c.h"
#include "net.pb-c.h"
#include "pstree.pb-c.h"
#include "regfile.pb-c.h"
#include "snap.pb-c.h"
#include "socket.pb-c.h"
#include "stats.pb-c.h"
#include "task.pb-c.h"
#include "tty.pb-c.h"

/* Bits of vma_entry.status. */
#define VMA_STATUS_REGULAR (1u << 0)
#define VMA_STATUS_STACK (1u << 1)
#define VMA_STATUS_VSYSCALL (1u << 2)
#define VMA_STATUS_VDSO (1u << 3)
#define VMA_STATUS_HEAP (1u << 5)
#define VMA_STATUS_FILE_PRIVATE (1u << 6)
#define VMA_STATUS_FILE_SHARED (1u << 7)
#define VMA_STATUS_ANON_SHARED (1u << 8)
#define VMA_STATUS_ANON_PRIVATE (1u << 9)
#define VMA_STATUS_SYSVIPC (1u << 10)
#define VMA_STATUS_SOCKET (1u << 11)
#define VMA_STATUS_VVAR (1u << 12)
#define VMA_STATUS_AIORING (1u << 13)
#define VMA_STATUS_MEMFD (1u << 14)
#define VMA_STATUS_GUARD (1u << 16) /* no range of its own: guarded pages within another one */

/* A bit of vma_entry.flags that mmap(2) does not use: locked as its pages are touched only. */
#define VMA_FLAG_LOCK_ONFAULT (1u << 30)

/* Values of task_core_entry.task_state (CRIU 4.2, compel's task-state.h; dumps of dead tasks have
 * 2).  The words crit has for 3 and 6 are others. */
#define TASK_STATE_ALIVE 1u
#define TASK_STATE_ZOMBIE 2u
#define TASK_STATE_STOPPED 3u

enum image_kind_id {
	IMAGE_INVENTORY,
	IMAGE_PSTREE,
	IMAGE_CORE,
	IMAGE_IDS,
	IMAGE_MM,
	IMAGE_FS,
	IMAGE_CREDS,
	IMAGE_SECCOMP,
	IMAGE_APPARMOR,
	IMAGE_CGROUP,
	IMAGE_CPUINFO,
	IMAGE_PAGEMAP,
	IMAGE_PAGEMAP_SHMEM,
	IMAGE_FDINFO,
	IMAGE_FILES,
	IMAGE_REMAP_FPATH,
	IMAGE_GHOST_FILE,
	IMAGE_MEMFD,
	IMAGE_PIPES_DATA,
	IMAGE_FIFO_DATA,
	IMAGE_SK_QUEUES,
	IMAGE_TCP_STREAM,
	IMAGE_TTY_INFO,
	IMAGE_TTY_DATA,
	IMAGE_FILELOCKS,
	IMAGE_BPFMAP_FILE,
	IMAGE_BPFMAP_DATA,
	IMAGE_TIMENS,
	IMAGE_PIDNS,
	IMAGE_UTSNS,
	IMAGE_USERNS,
	IMAGE_MOUNTPOINTS,
	IMAGE_AUTOFS,
	IMAGE_BINFMT_MISC,
	IMAGE_NETNS,
	IMAGE_NETDEV,
	IMAGE_IPCNS_VAR,
	IMAGE_IPCNS_SHM,
	IMAGE_IPCNS_MSG,
	IMAGE_IPCNS_SEM,
	IMAGE_STATS,
	IMAGE_STATS_RESTORE,
	IMAGE_IRMAP_CACHE,
	IMAGE_REG_FILES,
	IMAGE_EXT_FILES,
	IMAGE_NS_FILES,
	IMAGE_PIPES,
	IMAGE_FIFO,
	IMAGE_UNIXSK,
	IMAGE_INETSK,
	IMAGE_PACKETSK,
	IMAGE_NETLINKSK,
	IMAGE_EVENTFD,
	IMAGE_EVENTPOLL,
	IMAGE_EVENTPOLL_TFD,
	IMAGE_SIGNALFD,
	IMAGE_TIMERFD,
	IMAGE_INOTIFY,
	IMAGE_INOTIFY_WD,
	IMAGE_FANOTIFY,
	IMAGE_FANOTIFY_MARK,
	IMAGE_TTY,
	IMAGE_TUNFILE,
	IMAGE_PIDFD,
	IMAGE_VMAS,
	IMAGE_SIGACTS,
	IMAGE_ITIMERS,
	IMAGE_POSIX_TIMERS,
	IMAGE_RLIMIT,
	IMAGE_SIGNAL,
	IMAGE_SIGNAL_THREAD,
	IMAGE_SNAP_TASK,
	IMAGE_SNAP_THREAD,
	IMAGE_SNAP_SHMEM,
	IMAGE_SNAP_FILES,
	IMAGE_SNAP_META,
	IMAGE_SNAP_SOCKETS,
	IMAGE_SNAP_SK_PACKETS,
	IMAGE_SNAP_MOUNTS,
	IMAGE_SNAP_PIPES,
	IMAGE_SNAP_EPOLL,
	IMAGE_SNAP_DATA,
	IMAGE_SNAP_EDIT,
	IMAGE_SNAP_GHOSTS,
	IMAGE_SNAP_LINKS,
	IMAGE_SNAP_ARCHIVE,
	IMAGE_KINDS,
};

/* One row of the table of kinds. */
struct image_kind {
	const char *name; /* "core": objects are named this, or this and "-" and a number */
	const char *tag;  /* "CORE": what crit calls its magic word; that of two kinds may be one */
	uint32_t head;	  /* first word; 0: the kind has one magic word only */
	uint32_t magic;
	const ProtobufCMessageDescriptor
	    *message; /* of its entries; image_scan.h knows exceptions */
};

/* The row of a kind; never NULL for a valid id. */
const struct image_kind *image_kind(enum image_kind_id id);

/* The kind of an object by its name ("core-12" is IMAGE_CORE); NULL if it is no image. */
const struct image_kind *image_kind_by_name(const char *object_name);

/* The first kind with this magic word (not the head), or this tag; NULL if there is none. */
const struct image_kind *image_kind_by_magic(uint32_t magic);
const struct image_kind *image_kind_by_tag(const char *tag);

/* The name, without number, of a raw file of CRIU's ("pages-1", "tmpfs-5.tar.gz"); NULL if it is
 * none.  In a generation, "pages-PID" is an address space instead. */
const char *image_raw_by_name(const char *object_name);

/*
 * An image being written.  Out of memory is remembered, so that only image_finish() need be asked.
 */
struct image_writer {
	const struct image_kind *kind;
	uint8_t *data;
	size_t len, room;
	size_t entries;
	bool failed;
};

/* Starts an image with its magic words. */
void image_writer_init(struct image_writer *writer, enum image_kind_id id);
void image_writer_free(struct image_writer *writer);

/* Appends one entry; `message` must be of the kind's message type (asserted). */
void image_add(struct image_writer *writer, const ProtobufCMessage *message);

/* The same for the one entry that is of another type: the head of a pagemap. */
void image_add_head(struct image_writer *writer, const ProtobufCMessage *message);

/* Appends bytes that belong to the entry added last. */
void image_add_payload(struct image_writer *writer, const void *data, size_t len);

/* R_OK when everything added is in `data` .. `len`; otherwise R_FAILED, reported. */
int image_finish(const struct image_writer *writer);

/* An image being read.  Does not own the bytes. */
struct image_reader {
	const struct image_kind *kind;
	const char *name;
	const uint8_t *at, *end;
};

/* Starts on the bytes of object `name` (which must stay), checks the magic words.  R_OK or
 * R_DAMAGED, reported with the name. */
int image_open(struct image_reader *reader, enum image_kind_id id, const char *name,
	       const void *data, size_t len);

/*
 * The next entry, to be freed by image_free_message().  R_OK, R_NOT_FOUND at the end, R_DAMAGED
 * (reported: an entry longer than the image, or that is not the message it should be).
 */
int image_next(struct image_reader *reader, ProtobufCMessage **message);

/* The same where an entry is of another type than its kind's: the head of a pagemap. */
int image_next_of(struct image_reader *reader, const ProtobufCMessageDescriptor *type,
		  ProtobufCMessage **message);

/* The `len` payload bytes behind the entry read last, still within the image.  R_OK or R_DAMAGED.
 */
int image_payload(struct image_reader *reader, size_t len, const void **data);

void image_free_message(ProtobufCMessage *message);

/* Reads an image that holds exactly one entry. */
int image_read_one(enum image_kind_id id, const char *name, const void *data, size_t len,
		   ProtobufCMessage **message);

#endif
