/* What waits in the pipes and sockets of a generation: how much, not what. */
#ifndef SNAP_ENGINE_LOOK_QUEUES_H
#define SNAP_ENGINE_LOOK_QUEUES_H

#include "engine/look/look.h"

/* Of one pipe or socket.  Of a socket, what it has sent and its peer has not read counts as sent.
 */
struct look_queue {
	uint64_t bytes_received, bytes_sent;
	uint64_t packets_received; /* of sockets that keep them apart; of streams, pieces */
	uint64_t awaiting_accept;  /* connections of a listening socket */
	bool reset;		   /* TCP: comes back as if its peer had reset it */
	bool outside;		   /* unix: its peer does not belong to the generation */
};

struct look_queues;

/* Reads the images that tell of it.  R_OK; R_DAMAGED or R_FAILED, reported. */
int look_queues_load(const struct look *look, struct look_queues **queues);
void look_queues_free(struct look_queues *queues); /* NULL is nothing */

/* Fills in what is known of an open file.  False: nothing is kept of such a file's queues, which is
 * the case for TCP connections that are not brought back, and for UDP. */
bool look_queue(const struct look_queues *queues, const FileEntry *file, struct look_queue *queue);

/* The task that has the other end of a unix socket open, and its descriptor; NULL: none has. */
const struct look_task *look_unix_peer(const struct look *look, const FileEntry *file,
				       uint32_t *fd);

#endif
