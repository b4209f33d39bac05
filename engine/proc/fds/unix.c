/* Unix sockets, the take: names, peers, connections awaiting accept. */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/engine.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static bool unix_probe(const struct taken_file *f)
{
	return S_ISSOCK(f->st.st_mode) && !(f->flags & O_PATH) &&
	       sk_get_int(f->local, SOL_SOCKET, SO_DOMAIN, -1) == AF_UNIX;
}

/* The bytes of the own (or the peer's) name; none for an unnamed socket. */
static int dump_name(struct fds_take *take, const struct taken_file *f, bool peer,
		     ProtobufCBinaryData *name)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun);
	int r = peer ? getpeername(f->local, (struct sockaddr *)&sun, &len)
		     : getsockname(f->local, (struct sockaddr *)&sun, &len);

	if (r < 0)
		len = 0;
	if (len > sizeof(sun))
		len = sizeof(sun);
	len = len > offsetof(struct sockaddr_un, sun_path)
		  ? len - (socklen_t)offsetof(struct sockaddr_un, sun_path)
		  : 0;
	return sk_bytes(take, name, sun.sun_path, len);
}

/* Does `name` seen from folder `dir` lead to the file `st`? */
static bool leads_to(const char *dir, const char *name, const struct stat *st)
{
	struct stat there;
	int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool same = dirfd >= 0 && !fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) &&
		    there.st_dev == st->st_dev && there.st_ino == st->st_ino;

	if (dirfd >= 0)
		close(dirfd);
	return same;
}

/*
 * Where the socket file is.  A relative name is kept with the folder it was relative to: the one
 * that is left when the name is taken off the end of the path, or the task's working folder.
 */
static int dump_place(struct fds_take *take, const struct taken_file *f, UnixSkEntry *u,
		      const char *name, const char *path, const struct stat *st)
{
	size_t path_len = strlen(path), name_len = strlen(name);
	char dir[PATH_MAX], link[64];
	ssize_t n;

	if (name[0] == '/') {
		u->has_deleted = true;
		u->deleted = !leads_to("/", name, st);
		return R_OK;
	}
	snprintf(dir, sizeof(dir), "%s", path);
	if (path_len > name_len + 1 && !strcmp(path + path_len - name_len, name) &&
	    path[path_len - name_len - 1] == '/') {
		dir[path_len - name_len - 1] = '\0';
	} else {
		snprintf(link, sizeof(link), "/proc/%d/cwd", (int)f->pid);
		n = f->pid ? readlink(link, dir, sizeof(dir) - 1) : -1;
		if (n > 0)
			dir[n] = '\0';
		else
			dir[0] = '\0';
	}
	u->has_deleted = true;
	u->deleted = !dir[0] || !leads_to(dir, name, st);
	if (dir[0])
		u->name_dir = fds_take_strdup(take, dir);
	return !dir[0] || u->name_dir ? R_OK : R_FAILED;
}

static int dump_file_of(struct fds_take *take, const struct taken_file *f, UnixSkEntry *u)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = "", link[64], path[PATH_MAX];
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (!u->name.len || !u->name.data[0])
		return R_OK;
	memcpy(name, u->name.data, u->name.len);
	fd = ioctl(f->local, SIOCUNIXFILE);
	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
	}
	if (n < 0 || fstat(fd, &st) < 0) {
		warn_errno("%s: cannot find the file of unix socket %s", taken_file_name(f), name);
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	close(fd);
	path[n] = '\0';
	u->file_perms = fds_take_alloc(take, sizeof(*u->file_perms));
	if (!u->file_perms)
		return R_FAILED;
	file_perms_entry__init(u->file_perms);
	u->file_perms->mode = st.st_mode;
	u->file_perms->uid = st.st_uid;
	u->file_perms->gid = st.st_gid;
	/* A name taken off the end of "(deleted)" would not match: cut that first. */
	if (n > 10 && !strcmp(path + n - 10, " (deleted)") && access(path, F_OK))
		path[n - 10] = '\0';
	return dump_place(take, f, u, name, path, &st);
}

static int unix_dump(struct fds_take *take, struct taken_file *f)
{
	UnixSkEntry *u = fds_take_alloc(take, sizeof(*u));
	SnapSocketEntry *more = sk_more_new(take, f);
	struct unix_facts facts;
	struct sk_sort sort;
	int r;

	if (!u || !more)
		return R_FAILED;
	r = sk_check_netns(f);
	if (r)
		return r;
	r = sock_diag_unix((uint32_t)f->st.st_ino, &facts);
	if (r) {
		if (r == R_NOT_FOUND)
			warn("%s: the kernel does not know unix socket %lu", taken_file_name(f),
			     (unsigned long)f->st.st_ino);
		return r == R_NOT_FOUND ? R_UNSUPPORTED : r;
	}
	free(facts.icons);
	sk_sort_of(f->local, &sort);
	unix_sk_entry__init(u);
	u->id = f->id;
	u->ino = (uint32_t)f->st.st_ino;
	u->type = (uint32_t)sort.type;
	u->state = facts.state;
	u->flags = f->flags;
	u->backlog = facts.state == SK_LISTEN ? facts.wqueue : 0;
	u->peer = facts.peer_ino;
	u->fown = &f->fown;
	u->has_shutdown = true;
	u->shutdown = (SkShutdown)facts.shutdown;
	f->entry.usk = u;
	r = dump_name(take, f, false, &u->name);
	if (!r)
		r = dump_file_of(take, f, u);
	if (!r)
		r = sk_opts_dump(take, f, &u->opts, more);
	if (!r)
		r = unix_peer_dump(take, f, &more->peer);
	if (r)
		return r;
	sk_more_put_owned(take, f, more);
	return R_OK;
}

/* ---- when all are known ---- */

struct search {
	uint32_t ino;
	struct taken_file *found;
};

static int match_ino(struct taken_file *f, void *arg)
{
	struct search *s = arg;

	if (f->kind != &fd_kind_unix || !f->entry.usk || f->entry.usk->ino != s->ino)
		return 0;
	s->found = f;
	return 1;
}

static struct taken_file *find_ino(struct fds_take *take, uint32_t ino)
{
	struct search s = { .ino = ino };

	fds_take_each(take, match_ino, &s);
	return s.found;
}

static int queue_one(struct taken_file *f, void *arg)
{
	const UnixSkEntry *u = f->entry.usk;

	if (f->kind != &fd_kind_unix || !u || (u->type != SOCK_DGRAM && u->state != SK_ESTABLISHED))
		return 0;
	return unix_queue_dump(arg, f);
}

/*
 * Clients that connected and were not accepted yet.  Those of the tree connect again at restore;
 * what they have sent already cannot be seen, nor what one that is gone has left behind.
 */
static int dump_pending(struct fds_take *take, struct taken_file *f, SnapSocketEntry *more)
{
	struct unix_facts facts, client;
	int r = sock_diag_unix(f->entry.usk->ino, &facts);

	if (r)
		return R_FAILED;
	more->pending = fds_take_alloc(take, (facts.n_icons + 1) * sizeof(*more->pending));
	more->pending_peers =
	    fds_take_alloc(take, (facts.n_icons + 1) * sizeof(*more->pending_peers));
	if (!more->pending || !more->pending_peers)
		r = R_FAILED;
	for (size_t i = 0; !r && i < facts.n_icons; i++) {
		struct taken_file *c = facts.icons[i] ? find_ino(take, facts.icons[i]) : NULL;

		if (!facts.icons[i]) {
			warn("%s: a connection awaits accept whose client is gone; let the program "
			     "accept it first",
			     taken_file_name(f));
			r = R_UNSUPPORTED;
		} else if (c) {
			r = sock_diag_unix(facts.icons[i], &client) ? R_FAILED : R_OK;
			free(client.icons);
			if (!r && client.wqueue) {
				warn("%s: a connection awaits accept with data in it; let the "
				     "program accept it first",
				     taken_file_name(f));
				r = R_UNSUPPORTED;
			}
			c->entry.usk->peer = f->entry.usk->ino;
			more->pending[more->n_pending++] = facts.icons[i];
			/* Nobody has asked that socket yet; as a rule its maker still has it. */
			if (!r && c->pid && more->n_pending_peers + 1 == more->n_pending)
				r = unix_peer_of_task(
				    take, c->pid, &more->pending_peers[more->n_pending_peers++]);
		} else if (fds_take_tcp(take) == TCP_REFUSE) {
			warn("%s: a connection from outside the tree awaits accept",
			     taken_file_name(f));
			r = R_UNSUPPORTED;
		}
	}
	free(facts.icons);
	return r;
}

static int listener_one(struct taken_file *f, void *arg)
{
	SnapSocketEntry *more;
	int r;

	if (f->kind != &fd_kind_unix || !f->entry.usk || f->entry.usk->state != SK_LISTEN)
		return 0;
	more = sk_more_new(arg, f);
	if (!more)
		return R_FAILED;
	r = dump_pending(arg, f, more);
	if (!r && more->n_pending)
		sk_more_put(arg, more);
	return r;
}

static int peer_one(struct taken_file *f, void *arg)
{
	struct fds_take *take = arg;
	UnixSkEntry *u = f->entry.usk;
	SnapSocketEntry *more;
	struct unix_facts facts;
	int r;

	if (f->kind != &fd_kind_unix || !u || u->state == SK_LISTEN)
		return 0;
	if (u->peer && find_ino(take, u->peer))
		return 0;
	r = sock_diag_unix(u->ino, &facts);
	free(facts.icons);
	if (r || !facts.has_peer)
		return r ? R_FAILED : 0;
	more = sk_more_new(take, f);
	if (!more || dump_name(take, f, true, &more->peer_name))
		return R_FAILED;
	more->has_peer_name = true;
	more->has_outside = true;
	more->outside = facts.peer_ino != 0;
	if (more->outside && u->type != SOCK_DGRAM && fds_take_tcp(take) == TCP_REFUSE) {
		warn("%s: unix socket is connected to a peer outside the tree (socket %u)",
		     taken_file_name(f), facts.peer_ino);
		return R_UNSUPPORTED;
	}
	u->peer = 0;
	sk_more_put(take, more);
	return 0;
}

static int unix_dump_end(struct fds_take *take)
{
	/* Queues first: sockets in flight are sockets of the tree too. */
	int r = fds_take_each(take, queue_one, take);

	if (!r)
		r = fds_take_each(take, listener_one, take);
	if (!r)
		r = fds_take_each(take, peer_one, take);
	return r;
}

static void unix_describe(const FileEntry *entry, char *buf, size_t len)
{
	const UnixSkEntry *u = entry->usk;
	const char *type = u->type == SOCK_STREAM  ? "stream"
			   : u->type == SOCK_DGRAM ? "dgram"
						   : "seqpacket";
	bool abstract = u->name.len && !u->name.data[0];

	snprintf(buf, len, "unix %s%s %s%.*s%s", type, u->state == SK_LISTEN ? " listening" : "",
		 abstract ? "@" : "", (int)(u->name.len - abstract),
		 (const char *)u->name.data + abstract, u->deleted ? " (deleted)" : "");
}

const struct fd_kind fd_kind_unix = {
	.name = "unix socket",
	.type = FD_TYPES__UNIXSK,
	.probe = unix_probe,
	.dump = unix_dump,
	.dump_end = unix_dump_end,
	.load = sockets_load,
	.check = unix_check,
	.open = unix_open,
	.link = unix_link,
	.finish = unix_finish,
	.done = sockets_done,
	.describe = unix_describe,
};
