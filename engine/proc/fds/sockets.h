/*
 * What the kinds of sockets share: options, facts from the kernel's socket diagnostics, names in
 * the file system.  Everything is asked through a descriptor of our own of the target's socket.
 */
#ifndef SNAP_ENGINE_PROC_FDS_SOCKETS_H
#define SNAP_ENGINE_PROC_FDS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/proc/fds/fds.h"

/* The numbers by which images and diagnostics call the states of all families. */
enum sk_state {
	SK_ESTABLISHED = 1,
	SK_SYN_SENT = 2,
	SK_SYN_RECV = 3,
	SK_FIN_WAIT1 = 4,
	SK_FIN_WAIT2 = 5,
	SK_TIME_WAIT = 6,
	SK_CLOSE = 7,
	SK_CLOSE_WAIT = 8,
	SK_LAST_ACK = 9,
	SK_LISTEN = 10,
	SK_CLOSING = 11,
};

/* What sort of socket it is; `domain` is -1 if `fd` is none. */
struct sk_sort {
	int domain, type, protocol;
	bool listening;
};
void sk_sort_of(int fd, struct sk_sort *sort);

/* Is it a socket of our network namespace?  Others are named and R_UNSUPPORTED. */
int sk_check_netns(const struct taken_file *f);

/* ---- what a restore keeps, in fds_restore_kinds()->sockets ---- */

/* One unix socket being brought back. */
struct usk {
	uint32_t id;
	const UnixSkEntry *entry;
	const SnapSocketEntry *more; /* may be NULL */
	int fd;		/* -1 until made; that of the restored_file once it has been adopted */
	int phantom;	/* the other end of one whose peer is not restored; closed at the end */
	bool connected; /* datagrams: needs no connect any more */
};

struct queued {
	const SkPacketEntry *entry;
	const SnapSkPacketEntry *more; /* may be NULL */
	void *data;
};

struct sockets {
	SnapSocketEntry **more; /* one for each id */
	size_t n_more, room_more;
	const InetSkEntry **reuseport; /* those that share their port */
	size_t n_reuseport, room_reuseport;
	struct usk *unix_list;
	size_t n_unix, room_unix;
	struct queued *queue; /* in the order of the image */
	size_t n_queue, room_queue, n_queue_more;
	bool settled;
};

/* Reads the images of all kinds of sockets, the first time it is called; R_OK, R_FAILED.. */
int sockets_load(struct fds_restore *restore);
/* Frees them; may be called again. */
void sockets_done(struct fds_restore *restore);

/* ---- options ---- */

/*
 * Fills the options of all families into `opts` and those CRIU's images have no field for into
 * `more`; memory is the take's.  R_UNSUPPORTED for what cannot be read back (an eBPF filter).
 */
int sk_opts_dump(struct fds_take *take, const struct taken_file *f, SkOptsEntry **opts,
		 SnapSocketEntry *more);

/*
 * Sets what must be there before bind: those that allow it, and the device.  The others are set by
 * sk_opts_restore when the socket is connected and its queue filled.
 */
int sk_opts_restore_early(int fd, const SkOptsEntry *opts);
int sk_opts_restore(int fd, uint32_t id, const SkOptsEntry *opts, const SnapSocketEntry *more);

/* One number option; `absent` if the kernel does not know it for this socket. */
int sk_get_int(int fd, int level, int name, int absent);
int sk_set_int(int fd, int level, int name, int value);

/* ---- snap-sockets ---- */

/* An entry for `f`, to be put by sk_more_put when it is complete. */
SnapSocketEntry *sk_more_new(struct fds_take *take, const struct taken_file *f);
void sk_more_put(struct fds_take *take, const SnapSocketEntry *more);
/* The same, with the user and group the socket belongs to. */
void sk_more_put_owned(struct fds_take *take, const struct taken_file *f, SnapSocketEntry *more);
/* The entry of file `id` while restoring; NULL if it has none. */
const SnapSocketEntry *sk_more_find(struct fds_restore *restore, uint32_t id);

/* Copies bytes into memory of the take. */
int sk_bytes(struct fds_take *take, ProtobufCBinaryData *to, const void *from, size_t len);

/* ---- diagnostics ---- */

struct unix_facts {
	uint32_t state;
	uint32_t shutdown; /* bit 0: no more receiving, bit 1: no more sending */
	bool has_peer;
	uint32_t peer_ino; /* 0: has one which no descriptor refers to */
	uint32_t rqueue;   /* bytes to read, or connections awaiting accept */
	uint32_t wqueue;   /* bytes sent and not yet read, or the backlog */
	uint32_t *icons;   /* inodes of clients awaiting accept, oldest first; malloced */
	size_t n_icons;
};
/* R_OK, R_NOT_FOUND (no such socket in our network namespace), R_FAILED. */
int sock_diag_unix(uint32_t ino, struct unix_facts *facts);

struct inet_facts {
	uint32_t state;
	uint32_t shutdown;
	uint32_t rqueue, wqueue; /* of a listener: connections awaiting accept, and the backlog */
	uint32_t ifindex;
};
/* Looks a socket up by its inode among those of a family and protocol.  As above. */
int sock_diag_inet(int family, int protocol, uint32_t ino, struct inet_facts *facts);

struct packet_facts {
	PacketMclist **mclist; /* memory of the take */
	size_t n_mclist;
	PacketRing *rx_ring, *tx_ring;
	bool has_fanout;
	uint32_t fanout;
};
int sock_diag_packet(struct fds_take *take, uint32_t ino, struct packet_facts *facts);

/* ---- unix sockets ---- */

/* Steps of the restore, unix_restore.c. */
int unix_check(struct fds_restore *restore, struct restored_file *f);
int unix_open(struct fds_restore *restore, struct restored_file *f);
int unix_link(struct fds_restore *restore, struct restored_file *f);
int unix_finish(struct fds_restore *restore, struct restored_file *f, const struct fds_task *task,
		int fd);

/* Binds in a child process whose root is a new empty folder: the socket has the name, the file is
 * gone.  For sockets whose file was removed.  R_OK or R_FAILED (reported with `id`). */
int unix_bind_hidden(int fd, uint32_t id, const void *name, size_t len);

/*
 * Binds in place, replacing a socket file nobody listens to, seen from folder `dir` for a relative
 * name.  `perms` may be NULL.  R_OK or R_FAILED, reported.
 */
int unix_bind_visible(int fd, uint32_t id, const void *name, size_t len, const char *dir,
		      const FilePermsEntry *perms);

/* An address that leads to the bound socket `to` of this process, whatever became of its file.
 * It is good while `*file` is open, which the caller closes unless it is -1.  Errno is set. */
int unix_reach(int to, struct sockaddr_un *sun, socklen_t *len, int *file);

/* Connects `fd` to the bound socket `to`.  Errno is set. */
int unix_connect_fd(int fd, int to);

/* Who `f` says is at its other end; NULL if there is nobody.  R_OK or R_FAILED (reported). */
int unix_peer_dump(struct fds_take *take, const struct taken_file *f, SnapPeer **peer);
/* What a socket would say of task `pid`. */
int unix_peer_of_task(struct fds_take *take, pid_t pid, SnapPeer **peer);

/*
 * Calls that make `peer` (NULL: us) the one a socket tells of, for file `id` in remarks; before any
 * task exists.  `*as` is the pid a connection was made by.  R_OK, or R_FAILED with errno set.
 */
int unix_pair_as(uint32_t id, const SnapPeer *peer, int type, int pair[2]);
int unix_listen_as(uint32_t id, const SnapPeer *peer, int fd, int backlog);
int unix_connect_as(uint32_t id, const SnapPeer *peer, int fd, int to, pid_t *as);

/* Fills an address of the family; its length. */
socklen_t unix_address(struct sockaddr_un *sun, const void *name, size_t len);

/* ---- queues of unix sockets ---- */

/* Copies what waits in the queue of `f` into the images; descriptors in flight become files of the
 * take.  R_OK, R_UNSUPPORTED (named), R_FAILED. */
int unix_queue_dump(struct fds_take *take, struct taken_file *f);

/* Parts of sockets_load. */
int unix_queue_load(struct fds_restore *restore);
/* Are there messages for file `id`? */
bool unix_queue_any(struct fds_restore *restore, uint32_t id);

/*
 * Sends every message again that waited for file `id`.  `sender` gives the socket to send it with
 * for the address it came from (NULL: none), and where to (`*to_len` 0: it is connected); -1 is a
 * failure, reported.
 */
int unix_queue_restore(struct fds_restore *restore, uint32_t id,
		       int (*sender)(const ProtobufCBinaryData *from, struct sockaddr_un *to,
				     socklen_t *to_len, void *arg),
		       void *arg);

/* ---- inet ---- */

union inet_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* The own (or the peer's) address of an entry; its length. */
socklen_t inet_address(const InetSkEntry *entry, bool peer, union inet_address *address);

/* Multicast groups: notes those `f` has joined; are their interfaces there; joins them again.  R_OK
 * or what has been reported. */
int multicast_dump(struct fds_take *take, const struct taken_file *f, SnapSocketEntry *more);
int multicast_check(const SnapSocketEntry *more);
int multicast_restore(int fd, const SnapSocketEntry *more);

/* Steps of the restore, inet_restore.c. */
int inet_check(struct fds_restore *restore, struct restored_file *f);
int inet_open(struct fds_restore *restore, struct restored_file *f);
int inet_finish(struct fds_restore *restore, struct restored_file *f, const struct fds_task *task,
		int fd);
int inet_finish_all(struct fds_restore *restore, const struct fds_task *tasks, size_t n);

/* ---- TCP ---- */

/*
 * A TCP socket that is neither closed nor listening: refuses it, marks it to come back reset, or
 * keeps it, as the take's policy says.  The addresses of `entry` are filled in.
 */
int tcp_dump(struct fds_take *take, struct taken_file *f, InetSkEntry *entry,
	     SnapSocketEntry *more);

/* Makes a socket whose peer has reset the connection; `told`: and the program knows, as the error
 * has been read.  It has its old address if this machine still has it.  -1: reported. */
int tcp_open_reset(const InetSkEntry *entry, bool told);

/* Takes a connection over with its queues and numbers; silent until tcp_resume.  -1: reported. */
int tcp_open_kept(struct fds_restore *restore, const InetSkEntry *entry);
int tcp_resume(struct fds_restore *restore, int fd, const InetSkEntry *entry);

#endif
