/* What the files share that take in dumps while they are made. */
#ifndef SNAP_ENGINE_EXCHANGE_LIVE_INTERNAL_H
#define SNAP_ENGINE_EXCHANGE_LIVE_INTERNAL_H

#include <sys/stat.h>

#include "dedup/dedup.h"
#include "engine/exchange/import_internal.h"
#include "engine/exchange/live.h"

/* ---- live_socket.c ---- */

/* A socket that listens for one peer. */
struct listener {
	int fd;
	int dirfd;	 /* of the folder a unix socket is in, else -1 */
	char name[108];	 /* the socket's there */
	char where[200]; /* for messages */
	bool loopback;
};

/* Listens at `address`.  R_OK, R_BUSY (taken, reported), R_FAILED (reported). */
int listener_open(const struct live_address *address, struct listener *listener);
/* Makes a socket of that name in a directory, called `path` in messages.  The same results. */
int listener_open_at(int dirfd, const char *path, const char *name, struct listener *listener);
/* Also takes the socket's file away. */
void listener_close(struct listener *listener);

/*
 * Waits for a peer of our own user or of root, for ever where `timeout_s` is 0, until it speaks
 * (one that leaves without a word is none), and stops listening then: there is one only.  `*fd`
 * does not block.  R_OK or R_FAILED, reported unless interrupted.
 */
int listener_accept(struct listener *listener, uint64_t timeout_s, const struct progress *progress,
		    int *fd);

/* Waits until one of the descriptors is ready, at most `timeout_s`.  R_OK, R_NOT_FOUND (nothing
 * came, not reported), R_FAILED (reported, or interrupted). */
struct pollfd;
int live_poll(struct pollfd *fds, size_t n, uint64_t timeout_s, const struct progress *progress);

/* ---- live_peer.c ---- */

/* Does the process at the other end belong to our user, or to root?  Of another machine's nothing
 * is known, and `loopback` is false: it does. */
bool peer_is_ours(int fd, bool loopback);

/* ---- live_images.c ---- */

/* What criu writes last, and only if all went well. */
#define LIVE_LAST_FILE "stats-dump"

struct live_images {
	const char *path, *work;
	int dirfd, workfd;
	uint64_t timeout_s;
	struct stat before; /* of the work folder's LIVE_LAST_FILE; st_nlink 0: there was none */
};

/* Opens both directories.  R_OK; R_NOT_FOUND (no directory), R_UNSUPPORTED (there are images
 * already), R_FAILED: reported. */
int live_images_open(const struct live_options *options, struct live_images *images);
void live_images_close(struct live_images *images);

/* Waits until criu has written its last file.  R_OK or R_FAILED, reported unless interrupted. */
int live_images_wait(const struct live_images *images, const struct progress *progress);

/* Are these the images of a pre-dump? */
bool live_images_predump(const struct live_images *images);

/* Reads `name` in the directory ("parent/inventory.img"), freed by the caller; NULL: it is not
 * there, or cannot be read. */
char *live_images_read(const struct live_images *images, const char *name, size_t *len);

/* ---- live_session.c ---- */

/* Objects a peer may send at most: no tree has as many address spaces. */
#define SESSION_OBJECTS_MAX 65536
/* Names such as "pages-shmem-" and a number. */
#define SESSION_NAME_ROOM 40

struct live_session {
	struct store *store;
	const struct live_options *options;
	const struct live_images *images;
	struct ingest *ingest;
	struct object_writer *writer; /* the object that pages go to; NULL: none */
	char (*names)[SESSION_NAME_ROOM];
	size_t n, room;
	uint64_t end;	 /* page index behind the last one */
	uint64_t pages;	 /* that came */
	uint64_t record; /* the pre-dump that holds them once they all came */
	int parent;	 /* -1: not looked yet, 0: none, 1: the newest of the lineage */
	bool kept;	 /* pages were left to the parent */
};

int session_begin(struct live_session *s, struct store *store, const struct live_options *options,
		  const struct live_images *images);
void session_end(struct live_session *s);

/* Waits for the peer, then runs `take_in`, which closes `fd`, within a session.  Closes the
 * listener. What `take_in` gave, or R_FAILED. */
int session_with_peer(struct store *store, const struct live_options *options,
		      const struct live_images *images, struct listener *listener,
		      int (*take_in)(int fd, const struct live_options *options,
				     struct live_session *session, struct live_result *result),
		      struct live_result *result);

/* Is there an object `name` in the dump that the parent directory is of? */
bool session_has_parent(struct live_session *s, const char *name);

/* Begins an object, and ends the one before.  R_OK, or R_DAMAGED (it came before) or R_FAILED. */
int session_object(struct live_session *s, const char *name);
/* Pages of it, in ascending order; or pages that the parent has. */
int session_pages(struct live_session *s, uint64_t index, const void *pages, size_t n);
int session_keep(struct live_session *s, uint64_t index, size_t n);

/* Everything came: makes it last, as a pre-dump that nobody sees. */
int session_commit(struct live_session *s);

/* With the images of `source` (those of the directory, or others), a generation. */
int session_generation(struct live_session *s, const struct dump_source *source,
		       const struct import_live *live, struct live_result *result);
/* Or a pre-dump for the next one to build on. */
int session_predump(struct live_session *s, struct live_result *result);

#endif
