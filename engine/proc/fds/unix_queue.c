/*
 * What waits in the queue of a unix socket: copied by peeking, put back by sending it again.
 *
 * A plain MSG_PEEK shows the first message only, of a stream all up to the first message with
 * descriptors or, with SO_PASSCRED, of another sender.  What is behind is reached by SO_PEEK_OFF
 * alone, which belongs to the target's socket: it is used only there, for the moment of the copy,
 * and put back to what it was.  How many datagrams wait the kernel does not tell, so to know that
 * one is the last takes SO_PEEK_OFF too.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/ending.h"
#include "base/result.h"
#include "base/warn.h"

/* 253 descriptors (SCM_MAX_FD), credentials, a pidfd and a security label. */
#define CONTROL_BYTES 4096
#define FIRST_ROOM (256u << 10)
#define SCM_RIGHTS_MAX 253
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* One message as it was peeked. */
struct peeked {
	uint8_t *data; /* room bytes */
	size_t room, bytes;
	int fds[SCM_RIGHTS_MAX];
	size_t n_fds;
	bool has_cred;
	struct ucred cred;
	struct sockaddr_un from;
	size_t from_bytes; /* of the name */
	bool truncated;
};

static void take_control(struct peeked *p, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			p->n_fds = bytes / sizeof(int);
			memcpy(p->fds, CMSG_DATA(c), p->n_fds * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			p->has_cred = true;
			memcpy(&p->cred, CMSG_DATA(c), sizeof(p->cred));
		} else if (c->cmsg_type == SCM_PIDFD) {
			int fd;

			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			if (fd >= 0)
				close(fd);
		}
	}
}

static void drop_fds(struct peeked *p)
{
	for (size_t i = 0; i < p->n_fds; i++)
		close(p->fds[i]);
	p->n_fds = 0;
}

/* Peeks up to `want` bytes.  R_OK, R_NOT_FOUND (nothing there), R_FAILED with errno. */
static int peek(int fd, size_t want, struct peeked *p)
{
	char control[CONTROL_BYTES] __attribute__((aligned(8)));
	struct iovec iov = { p->data, want };
	struct msghdr mh = {
		.msg_name = &p->from,
		.msg_namelen = sizeof(p->from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &mh, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	p->n_fds = 0;
	p->has_cred = false;
	if (n < 0)
		return errno == EAGAIN ? R_NOT_FOUND : R_FAILED;
	p->bytes = (size_t)n;
	p->truncated = mh.msg_flags & MSG_TRUNC;
	p->from_bytes = mh.msg_namelen > offsetof(struct sockaddr_un, sun_path)
			    ? mh.msg_namelen - offsetof(struct sockaddr_un, sun_path)
			    : 0;
	take_control(p, &mh);
	return R_OK;
}

/* The entry of one message.  Takes over its descriptors. */
static int put_message(struct fds_take *take, const struct taken_file *f, struct peeked *p)
{
	SkPacketEntry entry = SK_PACKET_ENTRY__INIT;
	SnapSkPacketEntry more = SNAP_SK_PACKET_ENTRY__INIT;
	ScmEntry scm = SCM_ENTRY__INIT, *list = &scm;
	uint32_t ids[SCM_RIGHTS_MAX];
	int result = R_OK;

	for (size_t i = 0; i < p->n_fds; i++) {
		int r = R_OK;

		if (result)
			close(p->fds[i]);
		else
			r = fds_register_local(take, p->fds[i], &ids[i]);
		if (r)
			result = r;
	}
	if (result) {
		warn("%s: a descriptor waiting in its queue cannot be captured",
		     taken_file_name(f));
		goto out;
	}
	entry.id_for = more.id_for = f->id;
	entry.length = (uint32_t)p->bytes;
	if (p->n_fds) {
		scm.type = SCM_RIGHTS;
		scm.rights = ids;
		scm.n_rights = p->n_fds;
		entry.scm = &list;
		entry.n_scm = 1;
	}
	if (p->from_bytes) {
		more.has_from = true;
		more.from.data = (uint8_t *)p->from.sun_path;
		more.from.len = p->from_bytes;
	}
	if (p->has_cred) {
		more.has_pid = more.has_uid = more.has_gid = true;
		more.pid = (uint32_t)p->cred.pid;
		more.uid = p->cred.uid;
		more.gid = p->cred.gid;
	}
	fds_take_put(take, IMAGE_SK_QUEUES, &entry.base, p->data, p->bytes);
	fds_take_put(take, IMAGE_SNAP_SK_PACKETS, &more.base, NULL, 0);
out:
	p->n_fds = 0;
	return result;
}

/* The bytes of a stream before the one that came with descriptors: a reader gets them without.
 * `at`: SO_PEEK_OFF, < 0 for one that is off and stays so. */
static int bytes_before_fds(int fd, int at, struct peeked *p, size_t *before)
{
	size_t low = 1, high = p->bytes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		drop_fds(p);
		if ((at >= 0 && sk_set_int(fd, SOL_SOCKET, SO_PEEK_OFF, at)) ||
		    peek(fd, mid, p) != R_OK)
			return R_FAILED;
		if (p->n_fds)
			high = mid;
		else
			low = mid + 1;
	}
	drop_fds(p);
	*before = low - 1;
	return R_OK;
}

/* At the end of a connection of packets nothing to read looks like an empty packet. */
static bool is_end(int fd, const struct peeked *p, size_t at, size_t total)
{
	struct pollfd now = { fd, POLLRDHUP, 0 };

	return !p->bytes && at >= total && poll(&now, 1, 0) == 1;
}

/* All messages, with SO_PEEK_OFF.  `total`: bytes to expect, but of datagrams. */
static int peek_all(struct fds_take *take, const struct taken_file *f, struct peeked *p,
		    bool stream, size_t total)
{
	bool packets = sk_get_int(f->local, SOL_SOCKET, SO_TYPE, 0) == SOCK_SEQPACKET;
	size_t at = 0;

	while (!stream || at < total) {
		size_t before, want = p->room;
		int r;

		if (sk_set_int(f->local, SOL_SOCKET, SO_PEEK_OFF, (int)at))
			return R_FAILED;
		r = peek(f->local, want, p);
		if (r == R_NOT_FOUND || (!r && packets && is_end(f->local, p, at, total)))
			break;
		if (!r && p->truncated) {
			uint8_t *data = realloc(p->data, 2 * p->room);

			drop_fds(p);
			if (!data)
				return R_FAILED;
			p->data = data;
			p->room *= 2;
			continue;
		}
		if (!r && stream && p->n_fds) {
			size_t whole = p->bytes;

			r = bytes_before_fds(f->local, (int)at, p, &before);
			if (!r)
				r = sk_set_int(f->local, SOL_SOCKET, SO_PEEK_OFF, (int)at);
			if (!r)
				r = peek(f->local, before ? before : whole, p);
		}
		if (!r)
			r = put_message(take, f, p);
		if (r)
			return r;
		at += p->bytes;
		if (stream && !p->bytes)
			break;
	}
	if (stream && at != total) {
		warn("%s: %zu of %zu bytes of its queue can be seen (out-of-band data)",
		     taken_file_name(f), at, total);
		return R_UNSUPPORTED;
	}
	return R_OK;
}

/*
 * The first peek showed all of a stream.  If there are descriptors, they came with the last
 * message; where that begins, and they with it, is found by peeking at less.  R_OK or R_FAILED with
 * errno.
 */
static int put_whole_stream(struct fds_take *take, const struct taken_file *f, struct peeked *p)
{
	size_t whole = p->bytes, before = 0;
	int r;

	if (!p->n_fds)
		return put_message(take, f, p);
	r = bytes_before_fds(f->local, -1, p, &before);
	if (!r && before) {
		r = peek(f->local, before, p);
		if (!r)
			r = put_message(take, f, p);
	}
	if (!r)
		r = peek(f->local, whole, p);
	if (!r && before) {
		p->bytes -= before;
		memmove(p->data, p->data + before, p->bytes);
	}
	return r ? r : put_message(take, f, p);
}

/* The same for everything else.  While the target's socket is changed snap does not end unless it
 * is killed by SIGKILL. */
static int put_by_offset(struct fds_take *take, const struct taken_file *f, struct peeked *p,
			 bool stream, size_t total, int old_off)
{
	int r;

	ending_hold();
	r = peek_all(take, f, p, stream, total);
	if (r == R_FAILED && errno)
		warn_errno("cannot read the queue of %s", taken_file_name(f));
	if (sk_set_int(f->local, SOL_SOCKET, SO_PEEK_OFF, old_off) && !r) {
		warn_errno("%s: cannot set SO_PEEK_OFF back to %d", taken_file_name(f), old_off);
		r = R_FAILED;
	}
	ending_allow();
	return r;
}

int unix_queue_dump(struct fds_take *take, struct taken_file *f)
{
	struct peeked p = { 0 };
	struct sk_sort sort;
	int total = 0, old_off, r;
	bool stream;

	sk_sort_of(f->local, &sort);
	stream = sort.type == SOCK_STREAM;
	if (ioctl(f->local, FIONREAD, &total) < 0 || (stream && !total))
		return R_OK;
	p.room = stream ? (size_t)total : FIRST_ROOM;
	p.data = malloc(p.room);
	if (!p.data) {
		warn_errno("cannot read the queue of %s", taken_file_name(f));
		return R_FAILED;
	}
	old_off = sk_get_int(f->local, SOL_SOCKET, SO_PEEK_OFF, -1);
	if (old_off < 0) {
		r = peek(f->local, p.room, &p);
		if (r == R_NOT_FOUND ||
		    (!r && sort.type == SOCK_SEQPACKET && is_end(f->local, &p, 0, (size_t)total))) {
			r = R_OK;
			goto out;
		}
		if (!r && stream && p.bytes == (size_t)total) {
			errno = 0;
			r = put_whole_stream(take, f, &p);
			if (r == R_FAILED && errno)
				warn_errno("cannot read the queue of %s", taken_file_name(f));
			goto out;
		}
		drop_fds(&p);
	}
	errno = 0;
	r = put_by_offset(take, f, &p, stream, (size_t)total, old_off);
out:
	drop_fds(&p);
	free(p.data);
	return r;
}

/* ---- restore ---- */

static size_t packet_bytes(const ProtobufCMessage *entry)
{
	return ((const SkPacketEntry *)entry)->length;
}

static int load_packet(struct fds_restore *restore, const ProtobufCMessage *entry,
		       const void *payload, size_t bytes)
{
	struct sockets *s = fds_restore_kinds(restore)->sockets;
	struct queued *q;

	if (s->n_queue == s->room_queue) {
		size_t room = s->room_queue ? 2 * s->room_queue : 64;
		struct queued *list = realloc(s->queue, room * sizeof(*list));

		if (!list)
			goto err;
		s->queue = list;
		s->room_queue = room;
	}
	q = &s->queue[s->n_queue];
	memset(q, 0, sizeof(*q));
	q->data = malloc(bytes ? bytes : 1);
	if (!q->data)
		goto err;
	if (bytes)
		memcpy(q->data, payload, bytes);
	q->entry = (const SkPacketEntry *)entry;
	s->n_queue++;
	return R_OK;
err:
	warn_errno("cannot read the queues of sockets");
	return R_FAILED;
}

static int load_more(struct fds_restore *restore, const ProtobufCMessage *entry,
		     const void *payload, size_t bytes)
{
	struct sockets *s = fds_restore_kinds(restore)->sockets;

	(void)payload, (void)bytes;
	if (s->n_queue_more < s->n_queue)
		s->queue[s->n_queue_more++].more = (const SnapSkPacketEntry *)entry;
	return R_OK;
}

int unix_queue_load(struct fds_restore *restore)
{
	int r = fds_restore_each(restore, IMAGE_SK_QUEUES, packet_bytes, load_packet);

	if (!r)
		r = fds_restore_each(restore, IMAGE_SNAP_SK_PACKETS, NULL, load_more);
	return r;
}

/* Adds the descriptors of a message.  R_OK or R_FAILED. */
static int add_rights(struct fds_restore *restore, const struct queued *q, struct msghdr *mh,
		      size_t *used)
{
	for (size_t s = 0; s < q->entry->n_scm; s++) {
		const ScmEntry *scm = q->entry->scm[s];
		struct cmsghdr *c = (struct cmsghdr *)((char *)mh->msg_control + *used);
		int fds[SCM_RIGHTS_MAX];

		if (scm->type != SCM_RIGHTS || scm->n_rights > SCM_RIGHTS_MAX) {
			warn("file %u: a message in its queue carries what is not known (%u)",
			     q->entry->id_for, scm->type);
			return R_FAILED;
		}
		for (size_t i = 0; i < scm->n_rights; i++) {
			const struct restored_file *r = fds_restore_file(restore, scm->rights[i]);

			if (!r || r->local < 0) {
				warn("file %u: descriptor of file %u in its queue is not open",
				     q->entry->id_for, scm->rights[i]);
				return R_FAILED;
			}
			fds[i] = r->local;
		}
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(scm->n_rights * sizeof(int));
		memcpy(CMSG_DATA(c), fds, scm->n_rights * sizeof(int));
		*used += CMSG_SPACE(scm->n_rights * sizeof(int));
	}
	return R_OK;
}

static void add_cred(const struct queued *q, struct msghdr *mh, size_t *used, pid_t pid)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)mh->msg_control + *used);
	struct ucred cred = { pid, q->more->uid, q->more->gid };

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(c), &cred, sizeof(cred));
	*used += CMSG_SPACE(sizeof(cred));
}

static int send_message(struct fds_restore *restore, const struct queued *q, int sender,
			const struct sockaddr_un *to, socklen_t to_len)
{
	char control[CONTROL_BYTES] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { q->data, q->entry->length };
	struct msghdr mh = {
		.msg_name = (void *)(uintptr_t)to,
		.msg_namelen = to_len,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
	};
	size_t rights = 0, used;
	ssize_t n;

	if (add_rights(restore, q, &mh, &rights))
		return R_FAILED;
	used = rights;
	if (q->more && q->more->has_pid)
		add_cred(q, &mh, &used, (pid_t)q->more->pid);
	mh.msg_controllen = used;
	if (!used)
		mh.msg_control = NULL;
	n = sendmsg(sender, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ESRCH && used != rights) {
		/* The sender is no more; the kernel attests for living ones only. */
		note("file %u: a message from process %u, which has ended, is now from %d",
		     q->entry->id_for, q->more->pid, getpid());
		used = rights;
		add_cred(q, &mh, &used, getpid());
		n = sendmsg(sender, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (n != (ssize_t)q->entry->length) {
		warn_errno("file %u: cannot fill its queue again (%zd of %u bytes)",
			   q->entry->id_for, n, q->entry->length);
		return R_FAILED;
	}
	return R_OK;
}

int unix_queue_restore(struct fds_restore *restore, uint32_t id,
		       int (*sender)(const ProtobufCBinaryData *from, struct sockaddr_un *to,
				     socklen_t *to_len, void *arg),
		       void *arg)
{
	const struct sockets *s = fds_restore_kinds(restore)->sockets;

	for (size_t i = 0; i < s->n_queue; i++) {
		const struct queued *q = &s->queue[i];
		struct sockaddr_un to;
		socklen_t to_len = 0;
		int fd;

		if (q->entry->id_for != id)
			continue;
		fd =
		    sender(q->more && q->more->has_from ? &q->more->from : NULL, &to, &to_len, arg);
		if (fd < 0)
			return R_FAILED;
		if (sk_get_int(fd, SOL_SOCKET, SO_SNDBUF, 0) < (int)(4 * q->entry->length + 65536))
			sk_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE,
				   (int)(4 * q->entry->length + 65536));
		if (send_message(restore, q, fd, to_len ? &to : NULL, to_len))
			return R_FAILED;
	}
	return R_OK;
}

bool unix_queue_any(struct fds_restore *restore, uint32_t id)
{
	const struct sockets *s = fds_restore_kinds(restore)->sockets;

	for (size_t i = 0; i < s->n_queue; i++)
		if (s->queue[i].entry->id_for == id)
			return true;
	return false;
}
