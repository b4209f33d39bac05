/* Netlink sockets: protocol, port, groups, peer.  Answers that wait to be read are refused. */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
/* States of CRIU's entry, the kernel's own. */
#define NETLINK_STATE_UNCONNECTED 0
#define NETLINK_STATE_CONNECTED 1

static bool netlink_probe(const struct taken_file *f)
{
	return S_ISSOCK(f->st.st_mode) && !(f->flags & O_PATH) &&
	       sk_get_int(f->local, SOL_SOCKET, SO_DOMAIN, -1) == AF_NETLINK;
}

static int dump_groups(struct fds_take *take, const struct taken_file *f, NetlinkSkEntry *e)
{
	socklen_t len = 0;

	if (getsockopt(f->local, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &len) < 0) {
		warn_errno("%s: cannot list its netlink groups", taken_file_name(f));
		return R_FAILED;
	}
	e->groups = fds_take_alloc(take, len + sizeof(uint32_t));
	if (!e->groups)
		return R_FAILED;
	if (len && getsockopt(f->local, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, e->groups, &len)) {
		warn_errno("%s: cannot list its netlink groups", taken_file_name(f));
		return R_FAILED;
	}
	e->n_groups = len / sizeof(uint32_t);
	while (e->n_groups && !e->groups[e->n_groups - 1])
		e->n_groups--;
	return R_OK;
}

static int netlink_dump(struct fds_take *take, struct taken_file *f)
{
	NetlinkSkEntry *e = fds_take_alloc(take, sizeof(*e));
	SnapSocketEntry *more = sk_more_new(take, f);
	struct sockaddr_nl own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	char byte;
	int r;

	if (!e || !more)
		return R_FAILED;
	r = sk_check_netns(f);
	if (r)
		return r;
	if (recv(f->local, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
		warn("%s: netlink messages wait to be read; take again when the program has read "
		     "them",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	netlink_sk_entry__init(e);
	if (getsockname(f->local, (struct sockaddr *)&own, &own_len) ||
	    getpeername(f->local, (struct sockaddr *)&peer, &peer_len)) {
		warn_errno("%s: cannot ask for its netlink address", taken_file_name(f));
		return R_FAILED;
	}
	e->id = f->id;
	e->ino = (uint32_t)f->st.st_ino;
	e->protocol = (uint32_t)sk_get_int(f->local, SOL_SOCKET, SO_PROTOCOL, 0);
	e->flags = f->flags;
	e->portid = own.nl_pid;
	e->dst_portid = peer.nl_pid;
	e->dst_group = peer.nl_groups ? (uint32_t)__builtin_ctz(peer.nl_groups) + 1 : 0;
	e->state =
	    e->dst_portid || e->dst_group ? NETLINK_STATE_CONNECTED : NETLINK_STATE_UNCONNECTED;
	e->fown = &f->fown;
	f->entry.nlsk = e;
	r = dump_groups(take, f, e);
	if (!r)
		r = sk_opts_dump(take, f, &e->opts, more);
	if (!r)
		sk_more_put(take, more);
	return r;
}

static int netlink_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	if (f->entry->nlsk && f->entry->nlsk->opts)
		return R_OK;
	warn("file %u: its netlink socket is not described; run 'snap verify'", f->id);
	return R_DAMAGED;
}

static int bind_netlink(const NetlinkSkEntry *e, int fd)
{
	struct sockaddr_nl own = { .nl_family = AF_NETLINK, .nl_pid = e->portid };

	if (!e->portid && !e->n_groups)
		return R_OK;
	if (bind(fd, (struct sockaddr *)&own, sizeof(own))) {
		warn_errno("file %u: cannot have netlink port %u again", e->id, e->portid);
		return R_FAILED;
	}
	for (size_t i = 0; i < 32 * e->n_groups; i++) {
		int group = (int)i + 1;

		if ((e->groups[i / 32] >> i % 32 & 1) &&
		    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group))) {
			warn_errno("file %u: cannot join netlink group %d again", e->id, group);
			return R_FAILED;
		}
	}
	return R_OK;
}

static int netlink_open(struct fds_restore *restore, struct restored_file *f)
{
	const NetlinkSkEntry *e = f->entry->nlsk;
	struct sockaddr_nl peer = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)e->protocol);

	if (fd < 0) {
		warn_errno("file %u: cannot make a netlink socket of protocol %u", f->id,
			   e->protocol);
		return R_FAILED;
	}
	if (bind_netlink(e, fd))
		goto err;
	peer.nl_pid = e->dst_portid;
	peer.nl_groups = e->dst_group ? 1u << (e->dst_group - 1) : 0;
	if (e->state == NETLINK_STATE_CONNECTED &&
	    connect(fd, (struct sockaddr *)&peer, sizeof(peer))) {
		warn_errno("file %u: cannot connect its netlink socket again", f->id);
		goto err;
	}
	if (sk_opts_restore(fd, f->id, e->opts, sk_more_find(restore, f->id)))
		goto err;
	return fds_restore_adopt_as(restore, f, fd, e->flags, -1);
err:
	close(fd);
	return R_FAILED;
}

static void netlink_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "netlink protocol %u port %u", entry->nlsk->protocol,
		 entry->nlsk->portid);
}

const struct fd_kind fd_kind_netlink = {
	.name = "netlink socket",
	.type = FD_TYPES__NETLINKSK,
	.probe = netlink_probe,
	.dump = netlink_dump,
	.load = sockets_load,
	.check = netlink_check,
	.open = netlink_open,
	.done = sockets_done,
	.describe = netlink_describe,
};
