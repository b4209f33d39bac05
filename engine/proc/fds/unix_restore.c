/*
 * Unix sockets, the restore.  Sockets are made and named when their files are opened; everything
 * that passes between them happens when the tasks exist (credentials in queues name them), in one
 * go: connections that await accept, queues, datagram peers, shutdowns, options.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static struct sockets *state(struct fds_restore *restore)
{
	return fds_restore_kinds(restore)->sockets;
}

static struct usk *by_id(struct fds_restore *restore, uint32_t id)
{
	struct sockets *s = state(restore);

	for (size_t i = 0; i < s->n_unix; i++)
		if (s->unix_list[i].id == id)
			return &s->unix_list[i];
	return NULL;
}

static struct usk *by_ino(struct fds_restore *restore, uint32_t ino)
{
	struct sockets *s = state(restore);

	for (size_t i = 0; ino && i < s->n_unix; i++)
		if (s->unix_list[i].entry->ino == ino)
			return &s->unix_list[i];
	return NULL;
}

static bool stream_like(const struct usk *u)
{
	return u->entry->type != SOCK_DGRAM;
}

static bool named(const ProtobufCBinaryData *name)
{
	return name->len > 0;
}

static bool same_name(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len && a->len == b->len && !memcmp(a->data, b->data, a->len);
}

int unix_check(struct fds_restore *restore, struct restored_file *f)
{
	const UnixSkEntry *u = f->entry->usk;
	char path[256] = "";
	struct stat st;

	(void)restore;
	if (!u || !u->opts || !u->fown) {
		warn("file %u: its unix socket is not described; run 'snap verify'", f->id);
		return R_DAMAGED;
	}
	if (u->type != SOCK_STREAM && u->type != SOCK_DGRAM && u->type != SOCK_SEQPACKET) {
		warn("file %u: unix socket of unknown type %u", f->id, u->type);
		return R_UNSUPPORTED;
	}
	if (u->name.len < 2 || !u->name.data[0] || u->deleted || u->name.len >= sizeof(path))
		return R_OK;
	if (u->name_dir && (stat(u->name_dir, &st) || !S_ISDIR(st.st_mode))) {
		warn("file %u: folder %s of its unix socket is gone; make it", f->id, u->name_dir);
		return R_FAILED;
	}
	memcpy(path, u->name.data, u->name.len);
	if (path[0] == '/' && !lstat(path, &st) && !S_ISSOCK(st.st_mode)) {
		warn("file %u: %s is in the way of its unix socket; move it away", f->id, path);
		return R_FAILED;
	}
	return R_OK;
}

static int new_socket(const struct usk *u)
{
	int fd = socket(AF_UNIX, (int)u->entry->type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		warn_errno("file %u: cannot make a unix socket", u->id);
	return fd;
}

static int bind_socket(const struct usk *u, int fd)
{
	const UnixSkEntry *e = u->entry;

	if (!named(&e->name))
		return R_OK;
	if (e->deleted)
		return unix_bind_hidden(fd, u->id, e->name.data, e->name.len);
	return unix_bind_visible(fd, u->id, e->name.data, e->name.len, e->name_dir, e->file_perms);
}

/* ---- connected pairs ---- */

/* A listening socket of the tree with an abstract name: it has to serve for the pair itself. */
static struct usk *abstract_listener(struct fds_restore *restore, const ProtobufCBinaryData *name)
{
	struct sockets *s = state(restore);

	if (name->data[0])
		return NULL;
	for (size_t i = 0; i < s->n_unix; i++)
		if (s->unix_list[i].entry->state == SK_LISTEN &&
		    same_name(&s->unix_list[i].entry->name, name))
			return &s->unix_list[i];
	return NULL;
}

/* Somebody else's connection that came first is not ours to keep: it sees a reset. */
static int accept_own(int listener, pid_t client)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		struct ucred cred;
		socklen_t len = sizeof(cred);

		if (fd < 0)
			return -1;
		if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid == client)
			return fd;
		close(fd);
	}
}

/* One end of a connection: how it is called, and whom it tells of as its peer. */
struct end {
	const ProtobufCBinaryData *name;
	const SnapPeer *peer;
};

static int named_pair(struct fds_restore *restore, const struct usk *u, struct end server,
		      struct end client, int pair[2])
{
	struct usk *own = abstract_listener(restore, server.name);
	int listener = -1;
	pid_t as;

	pair[0] = pair[1] = -1;
	if (own) {
		const struct restored_file *r = fds_restore_file(restore, own->id);

		if (!r)
			return R_FAILED;
		listener = r->local;
	} else {
		listener = new_socket(u);
		if (listener < 0 ||
		    unix_bind_hidden(listener, u->id, server.name->data, server.name->len))
			goto err;
		if (unix_listen_as(u->id, client.peer, listener, 1)) {
			warn_errno("file %u: cannot listen for its unix connection", u->id);
			goto err;
		}
	}
	pair[1] = new_socket(u);
	if (pair[1] < 0 || (named(client.name) &&
			    unix_bind_hidden(pair[1], u->id, client.name->data, client.name->len)))
		goto err;
	if (unix_connect_as(u->id, server.peer, pair[1], listener, &as)) {
		warn_errno("file %u: cannot connect its unix socket again", u->id);
		goto err;
	}
	pair[0] = accept_own(listener, as);
	if (pair[0] < 0) {
		warn_errno("file %u: cannot accept its unix connection again", u->id);
		goto err;
	}
	if (!own)
		close(listener);
	return R_OK;
err:
	if (pair[1] >= 0)
		close(pair[1]);
	if (!own && listener >= 0)
		close(listener);
	return R_FAILED;
}

static bool has_listener(struct fds_restore *restore, const ProtobufCBinaryData *name)
{
	struct sockets *s = state(restore);

	for (size_t i = 0; i < s->n_unix; i++)
		if (s->unix_list[i].entry->state == SK_LISTEN &&
		    same_name(&s->unix_list[i].entry->name, name))
			return true;
	return false;
}

/* Both ends of a connection: `*mine` and `*other`, as they are called. */
static int connected_pair(struct fds_restore *restore, const struct usk *u, struct end my,
			  struct end its, int *mine, int *other)
{
	int pair[2], r;
	bool i_accepted;

	if (!named(my.name) && !named(its.name)) {
		r = unix_pair_as(u->id, my.peer ? my.peer : its.peer, (int)u->entry->type, pair);
		if (r)
			warn_errno("file %u: cannot make a pair of unix sockets", u->id);
		i_accepted = true;
	} else {
		/* The accepted end has its listener's name; when both have one, ask who that is. */
		i_accepted =
		    named(my.name) && (!named(its.name) || !has_listener(restore, its.name));
		r = named_pair(restore, u, i_accepted ? my : its, i_accepted ? its : my, pair);
	}
	if (r)
		return R_FAILED;
	*mine = i_accepted ? pair[0] : pair[1];
	*other = i_accepted ? pair[1] : pair[0];
	return R_OK;
}

static const ProtobufCBinaryData no_name;

static const SnapPeer *peer_of(const struct usk *u)
{
	return u->more ? u->more->peer : NULL;
}

static int make_connected(struct fds_restore *restore, struct usk *u)
{
	struct usk *p = by_ino(restore, u->entry->peer);
	struct end my = { &u->entry->name, peer_of(u) }, its = { &no_name, NULL };

	if (p)
		its = (struct end){ &p->entry->name, peer_of(p) };
	else if (u->more && u->more->has_peer_name)
		its.name = &u->more->peer_name;
	return connected_pair(restore, u, my, its, &u->fd, p ? &p->fd : &u->phantom);
}

static int make_unconnected(struct usk *u)
{
	u->fd = new_socket(u);
	if (u->fd < 0)
		return R_FAILED;
	if (bind_socket(u, u->fd))
		return R_FAILED;
	if (u->entry->state == SK_LISTEN &&
	    unix_listen_as(u->id, peer_of(u), u->fd, (int)u->entry->backlog)) {
		warn_errno("file %u: cannot listen at its unix socket", u->id);
		return R_FAILED;
	}
	return R_OK;
}

/* ---- datagrams ---- */

/* CRIU's images do not tell that a peer is gone; but who has no name gets messages from a peer
 * only. */
static bool waits_alone(struct fds_restore *restore, const struct usk *u)
{
	const struct sockets *s = state(restore);

	for (size_t i = 0; !u->entry->peer && !named(&u->entry->name) && i < s->n_queue; i++)
		if (s->queue[i].entry->id_for == u->id)
			return true;
	return false;
}

/*
 * Datagram sockets connect by name.  Two that are each other's peer, one of them without a name,
 * came out of socketpair(2) and are made so again.
 */
static int make_dgram(struct fds_restore *restore, struct usk *u)
{
	struct usk *p = by_ino(restore, u->entry->peer);
	bool had_peer = u->more ? u->more->has_peer_name : waits_alone(restore, u);
	int pair[2];

	if (p && p != u && p->fd < 0 && p->entry->peer == u->entry->ino &&
	    (!named(&u->entry->name) || !named(&p->entry->name))) {
		if (unix_pair_as(u->id, peer_of(u), SOCK_DGRAM, pair))
			goto err;
		u->fd = pair[0];
		p->fd = pair[1];
		u->connected = p->connected = true;
		return bind_socket(u, u->fd) || bind_socket(p, p->fd) ? R_FAILED : R_OK;
	}
	if (!p && had_peer && !(u->more && u->more->peer_name.len)) {
		if (unix_pair_as(u->id, peer_of(u), SOCK_DGRAM, pair))
			goto err;
		u->fd = pair[0];
		u->phantom = pair[1];
		u->connected = true;
		return bind_socket(u, u->fd);
	}
	return make_unconnected(u);
err:
	warn_errno("file %u: cannot make a pair of unix sockets", u->id);
	return R_FAILED;
}

/* ---- the steps ---- */

int unix_open(struct fds_restore *restore, struct restored_file *f)
{
	struct usk *u = by_id(restore, f->id), *p;
	int r = R_OK;

	if (!u)
		return R_FAILED;
	p = by_ino(restore, u->entry->peer);
	if (u->fd >= 0)
		; /* came with its peer */
	else if (!stream_like(u))
		r = make_dgram(restore, u);
	else if (u->entry->state == SK_ESTABLISHED && !(p && p->entry->state == SK_LISTEN))
		r = make_connected(restore, u);
	else
		r = make_unconnected(u);
	if (r)
		return r;
	r = fds_restore_adopt(restore, f, u->fd);
	u->fd = f->local;
	return r ? r : fds_restore_flags(f, u->entry->flags, -1);
}

static int wait_for_accept(const struct usk *u, const struct usk *c, const SnapPeer *peer)
{
	pid_t as;

	if (c && c->fd >= 0 && !unix_connect_as(u->id, peer, c->fd, u->fd, &as))
		return R_OK;
	warn_errno("file %u: a connection cannot be put back into its queue", u->id);
	return R_FAILED;
}

/* CRIU's images do not tell of a queue, but of clients whose peer is the socket that listens. */
static int find_waiting(struct fds_restore *restore, const struct usk *u)
{
	const struct sockets *s = state(restore);
	int r = R_OK;

	for (size_t i = 0; !r && u->entry->state == SK_LISTEN && i < s->n_unix; i++) {
		const struct usk *c = &s->unix_list[i];

		if (stream_like(c) && c->entry->state == SK_ESTABLISHED &&
		    by_ino(restore, c->entry->peer) == u)
			r = wait_for_accept(u, c, peer_of(c));
	}
	return r;
}

int unix_link(struct fds_restore *restore, struct restored_file *f)
{
	struct usk *u = by_id(restore, f->id);
	const SnapSocketEntry *more = u->more;
	int r = R_OK;

	if (!more || !more->n_pending)
		return find_waiting(restore, u);
	for (size_t i = 0; !r && i < more->n_pending; i++)
		r = wait_for_accept(u, by_ino(restore, more->pending[i]),
				    i < more->n_pending_peers ? more->pending_peers[i] : NULL);
	return r;
}

struct sending {
	struct fds_restore *restore;
	struct usk *u;
	int temporary; /* a socket for a sender that is not there; -1 */
	int file;
};

static void sending_close(struct sending *s)
{
	if (s->temporary >= 0)
		close(s->temporary);
	if (s->file >= 0)
		close(s->file);
	s->temporary = s->file = -1;
}

/* Who sends a message of the queue of s->u again. */
static int find_sender(const ProtobufCBinaryData *from, struct sockaddr_un *to, socklen_t *to_len,
		       void *arg)
{
	struct sending *s = arg;
	struct sockets *all = state(s->restore);
	struct usk *u = s->u, *p = by_ino(s->restore, u->entry->peer);

	*to_len = 0;
	if (u->phantom >= 0)
		return u->phantom;
	if (stream_like(u) || (p && p->entry->peer == u->entry->ino && u->connected))
		return p ? p->fd : -1;
	sending_close(s);
	if (unix_reach(u->fd, to, to_len, &s->file)) {
		warn_errno("file %u: no way to fill its queue again", u->id);
		return -1;
	}
	for (size_t i = 0; from && i < all->n_unix; i++) {
		struct usk *c = &all->unix_list[i];

		if (c->entry->type == SOCK_DGRAM && same_name(&c->entry->name, from))
			return c->fd;
	}
	s->temporary = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->temporary >= 0 && from &&
	    unix_bind_hidden(s->temporary, u->id, from->data, from->len))
		note("file %u: a message in its queue lost the name of its sender", u->id);
	return s->temporary;
}

static int fill_queue(struct fds_restore *restore, struct usk *u)
{
	struct sending s = { restore, u, -1, -1 };
	int on = 1, off = 0, r;
	bool creds = u->entry->opts->so_passcred;

	if (!unix_queue_any(restore, u->id))
		return R_OK;
	/* Credentials are kept with a message only if one end asked for them by then. */
	if (creds && setsockopt(u->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return R_FAILED;
	r = unix_queue_restore(restore, u->id, find_sender, &s);
	if (creds && setsockopt(u->fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)))
		r = R_FAILED;
	sending_close(&s);
	return r;
}

/* Connects a datagram socket to a peer of the tree, or to one outside that is still there. */
static int connect_dgram(struct fds_restore *restore, struct usk *u)
{
	struct sockets *s = state(restore);
	struct usk *p = by_ino(restore, u->entry->peer);
	struct sockaddr_un sun;
	int r;

	if (stream_like(u) || u->connected)
		return R_OK;
	u->connected = true;
	if (!p && u->more && u->more->has_peer_name && u->more->outside) {
		socklen_t len = unix_address(&sun, u->more->peer_name.data, u->more->peer_name.len);

		if (connect(u->fd, (struct sockaddr *)&sun, len))
			note("file %u: the peer of its unix socket, %.*s, is not there any more",
			     u->id, (int)u->more->peer_name.len,
			     (const char *)u->more->peer_name.data);
		return R_OK;
	}
	if (!p)
		return R_OK;
	/* A connected socket takes datagrams of its peer only, so whoever else is connected to
	 * this one has to be first. */
	for (size_t i = 0; i < s->n_unix; i++) {
		struct usk *c = &s->unix_list[i];

		if (c != p && c != u && c->entry->peer == u->entry->ino &&
		    connect_dgram(restore, c))
			return R_FAILED;
	}
	r = unix_connect_fd(u->fd, p->fd);
	if (r)
		warn_errno("file %u: cannot connect its unix socket to file %u again", u->id,
			   p->id);
	return r;
}

static int settle_one(struct usk *u)
{
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	uint32_t down = u->entry->has_shutdown ? (uint32_t)u->entry->shutdown & 3 : 0;

	if (u->phantom >= 0) {
		close(u->phantom);
		u->phantom = -1;
	}
	if (down && shutdown(u->fd, how[down]) && errno != ENOTCONN) {
		warn_errno("file %u: cannot shut its unix socket down again", u->id);
		return R_FAILED;
	}
	return sk_opts_restore(u->fd, u->id, u->entry->opts, u->more);
}

int unix_finish(struct fds_restore *restore, struct restored_file *f, const struct fds_task *task,
		int fd)
{
	struct sockets *s = state(restore);
	int r = R_OK;

	(void)f, (void)task, (void)fd;
	if (s->settled)
		return R_OK;
	s->settled = true;
	for (size_t i = 0; !r && i < s->n_unix; i++)
		r = fill_queue(restore, &s->unix_list[i]);
	for (size_t i = 0; !r && i < s->n_unix; i++)
		r = connect_dgram(restore, &s->unix_list[i]);
	for (size_t i = 0; !r && i < s->n_unix; i++)
		r = settle_one(&s->unix_list[i]);
	return r;
}
