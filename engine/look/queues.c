#include "engine/look/queues.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look_internal.h"

/* What is known about one file, pipe or TCP connection. */
struct waiting {
	enum { OF_SOCKET, OF_PIPE, OF_FIFO, OF_TCP } kind;
	uint32_t id; /* of the files image, of the pipe, inode of the connection */
	struct look_queue queue;
};

struct look_queues {
	const struct look *look;
	struct waiting *list; /* sorted by kind and id once all is there */
	size_t n, room;
};

static int compare(const void *a, const void *b)
{
	const struct waiting *left = a, *right = b;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

static int add(struct look_queues *q, const struct waiting *more)
{
	struct waiting *list;
	size_t room;

	if (q->n == q->room) {
		room = q->room ? 2 * q->room : 64;
		list = reallocarray(q->list, room, sizeof(*list));
		if (!list) {
			warn("out of memory");
			return R_FAILED;
		}
		q->list = list;
		q->room = room;
	}
	q->list[q->n++] = *more;
	return R_OK;
}

/* Entries of one kind and id become one. */
static void join(struct look_queues *q)
{
	size_t n = 0;

	if (q->n)
		qsort(q->list, q->n, sizeof(*q->list), compare);
	for (size_t i = 0; i < q->n; i++) {
		const struct look_queue *from = &q->list[i].queue;
		struct look_queue *to;

		if (!n || compare(&q->list[n - 1], &q->list[i]) != 0) {
			q->list[n++] = q->list[i];
			continue;
		}
		to = &q->list[n - 1].queue;
		to->bytes_received += from->bytes_received;
		to->bytes_sent += from->bytes_sent;
		to->packets_received += from->packets_received;
		to->awaiting_accept += from->awaiting_accept;
		to->reset |= from->reset;
		to->outside |= from->outside;
	}
	q->n = n;
}

/* One entry: what it tells, and how many bytes follow it. */
static size_t read_entry(enum image_kind_id id, const ProtobufCMessage *message,
			 struct waiting *one)
{
	switch (id) {
	case IMAGE_SK_QUEUES: {
		const SkPacketEntry *packet = (const SkPacketEntry *)message;

		*one = (struct waiting){ .kind = OF_SOCKET, .id = packet->id_for };
		one->queue.bytes_received = packet->length;
		one->queue.packets_received = 1;
		return packet->length;
	}
	case IMAGE_TCP_STREAM: {
		const TcpStreamEntry *tcp = (const TcpStreamEntry *)message;

		one->queue.bytes_received = tcp->inq_len;
		one->queue.bytes_sent = tcp->outq_len;
		return (size_t)tcp->inq_len + tcp->outq_len;
	}
	case IMAGE_SNAP_SOCKETS: {
		const SnapSocketEntry *more = (const SnapSocketEntry *)message;

		*one = (struct waiting){ .kind = OF_SOCKET, .id = more->id };
		one->queue.awaiting_accept = more->n_pending + more->awaited;
		one->queue.reset = more->reset;
		one->queue.outside = more->outside;
		return 0;
	}
	default: {
		const PipeDataEntry *pipe = (const PipeDataEntry *)message;

		*one = (struct waiting){ .kind = id == IMAGE_FIFO_DATA ? OF_FIFO : OF_PIPE,
					 .id = pipe->pipe_id };
		one->queue.bytes_received = pipe->bytes;
		return pipe->bytes;
	}
	}
}

/* `one` has kind and id of what the entries do not name themselves. */
static int load(struct look_queues *q, enum image_kind_id id, const char *name, struct waiting one)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	const void *payload;
	void *data;
	size_t len, behind;
	int rc = look_load_bytes(q->look, name, &data, &len);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = image_open(&reader, id, name, data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		behind = read_entry(id, message, &one);
		image_free_message(message);
		rc = image_payload(&reader, behind, &payload);
		if (rc == R_OK)
			rc = add(q, &one);
	}
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int load_tcp(struct look_queues *q)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < q->look->n_files; i++) {
		const InetSkEntry *sk = q->look->files[i]->isk;
		char name[LOOK_NAME_MAX];

		if (!sk || sk->proto != IPPROTO_TCP)
			continue;
		snprintf(name, sizeof(name), "tcp-stream-%x", sk->ino);
		rc = load(q, IMAGE_TCP_STREAM, name,
			  (struct waiting){ .kind = OF_TCP, .id = sk->ino });
	}
	return rc;
}

int look_queues_load(const struct look *look, struct look_queues **queues)
{
	static const struct {
		enum image_kind_id id;
		const char *name;
	} images[] = { { IMAGE_SK_QUEUES, "sk-queues" },
		       { IMAGE_PIPES_DATA, "pipes-data" },
		       { IMAGE_FIFO_DATA, "fifo-data" },
		       { IMAGE_SNAP_SOCKETS, "snap-sockets" } };
	struct look_queues *q = calloc(1, sizeof(*q));
	int rc = R_OK;

	*queues = NULL;
	if (!q) {
		warn("out of memory");
		return R_FAILED;
	}
	q->look = look;
	for (size_t i = 0; rc == R_OK && i < sizeof(images) / sizeof(images[0]); i++)
		rc = load(q, images[i].id, images[i].name, (struct waiting){ 0 });
	if (rc == R_OK)
		rc = load_tcp(q);
	if (rc != R_OK) {
		look_queues_free(q);
		return rc;
	}
	join(q);
	*queues = q;
	return R_OK;
}

void look_queues_free(struct look_queues *q)
{
	if (!q)
		return;
	free(q->list);
	free(q);
}

static const struct waiting *find(const struct look_queues *q, int kind, uint32_t id)
{
	struct waiting key = { .id = id };

	key.kind = kind;
	return q->n ? bsearch(&key, q->list, q->n, sizeof(*q->list), compare) : NULL;
}

static bool take(const struct waiting *found, struct look_queue *queue)
{
	if (found)
		*queue = found->queue;
	return true;
}

static const FileEntry *peer_of(const struct look *look, const UnixSkEntry *sk)
{
	for (size_t i = 0; sk->peer && i < look->n_files; i++)
		if (look->files[i]->usk && look->files[i]->usk->ino == sk->peer)
			return look->files[i];
	return NULL;
}

/* Of datagrams in the peer's queue it is not known which socket sent them. */
static bool take_unix(const struct look_queues *q, const FileEntry *file, struct look_queue *queue)
{
	const FileEntry *peer = peer_of(q->look, file->usk);
	const struct waiting *theirs = peer ? find(q, OF_SOCKET, peer->id) : NULL;

	take(find(q, OF_SOCKET, file->id), queue);
	if (theirs && file->usk->type != SOCK_DGRAM)
		queue->bytes_sent = theirs->queue.bytes_received;
	return true;
}

bool look_queue(const struct look_queues *q, const FileEntry *file, struct look_queue *queue)
{
	const struct waiting *found;

	*queue = (struct look_queue){ 0 };
	if (file->pipe)
		return take(find(q, OF_PIPE, file->pipe->pipe_id), queue);
	if (file->fifo)
		return take(find(q, OF_FIFO, file->fifo->pipe_id), queue);
	if (file->usk)
		return take_unix(q, file, queue);
	if (!file->isk)
		return false;
	take(find(q, OF_SOCKET, file->id), queue);
	found = find(q, OF_TCP, file->isk->ino);
	if (found) {
		queue->bytes_received = found->queue.bytes_received;
		queue->bytes_sent = found->queue.bytes_sent;
	}
	return found != NULL;
}

const struct look_task *look_unix_peer(const struct look *look, const FileEntry *file, uint32_t *fd)
{
	const FileEntry *peer = file->usk ? peer_of(look, file->usk) : NULL;

	for (size_t i = 0; peer && i < look->n_tasks; i++)
		for (size_t k = 0; k < look->tasks[i].n_fds; k++)
			if (look->tasks[i].fds[k]->id == peer->id) {
				*fd = look->tasks[i].fds[k]->fd;
				return &look->tasks[i];
			}
	return NULL;
}
