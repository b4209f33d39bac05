/*
 * Dumps that criu hands over while it makes them: no directory of pages in between.
 *
 *   live_socket.c   listening, the one peer, waiting with an end
 *   live_peer.c     whose process the peer is
 *   live_session.c  what came is stored; with the images beside it, it becomes a generation
 *   live_images.c   the images that criu writes into its directory, and how it tells that they are
 * whole page_server.c   CRIU's page-server protocol
 */
#ifndef SNAP_ENGINE_EXCHANGE_LIVE_H
#define SNAP_ENGINE_EXCHANGE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/progress.h"
#include "store/store.h"

/* Where to listen. */
struct live_address {
	struct sockaddr_storage addr;
	socklen_t len;
	const char *path; /* of a unix socket, within the text it was read from; else NULL */
	bool loopback;	  /* only processes of this machine can get there */
};

/*
 * Reads "PORT" (of 127.0.0.1), "ADDRESS:PORT", "[ADDRESS]:PORT", "unix:PATH" or a path with a
 * slash; addresses are numbers or "localhost".  R_OK or R_FAILED, reported.
 */
int live_address_read(const char *text, struct live_address *address);

struct live_options {
	const char *lineage;
	const char *images; /* the directory that criu dumps into */
	const char *work;   /* the one it writes stats-dump into; NULL: the same */
	uint64_t timeout_s; /* of silence; 0: LIVE_SILENCE_S, and LIVE_IMAGES_S for the images */
	const struct progress *progress; /* may be NULL; also tells of an interruption */
};
#define LIVE_SILENCE_S 300
#define LIVE_IMAGES_S 30

struct live_result {
	struct generation gen; /* as committed; gen.predump tells a pre-dump from a dump */
	size_t files;	       /* images taken in from the directory */
	bool parent;	       /* pages were taken over from the dump before */
};

/*
 * Waits for one peer at `address` that speaks the page-server protocol of CRIU up to 4.2, stores
 * its pages as they come, waits until criu has finished its images, and commits both as one
 * generation, or what a pre-dump sent as a pre-dump.  Pages that the peer leaves to its parent are
 * those of the newest dump of the lineage, if the parent directory's inventory is that dump's.
 *
 * R_OK; R_BUSY (somebody listens there); R_UNSUPPORTED (the directory holds other images, or a form
 * not known here); R_DAMAGED (what came is not whole); R_FAILED (no peer in time, gone half-way,
 * no protocol, interrupted): all reported, and no generation came into being.
 */
int live_page_server(struct store *store, const struct live_address *address,
		     const struct live_options *options, struct live_result *result);

/*
 * The same for `criu dump --stream`: waits for it at the socket streamer-capture.sock in the
 * directory, and takes in every image, of which none is a file; but criu is not told that all is
 * safe, and may have ended its tasks when something fails here.  The same results.
 */
int live_stream(struct store *store, const struct live_options *options,
		struct live_result *result);

#endif
