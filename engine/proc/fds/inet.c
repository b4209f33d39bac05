/* TCP, UDP, UDP-Lite, ICMP and raw sockets over IPv4 and IPv6: the take. */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

static bool inet_probe(const struct taken_file *f)
{
	int domain;

	if (!S_ISSOCK(f->st.st_mode) || (f->flags & O_PATH))
		return false;
	domain = sk_get_int(f->local, SOL_SOCKET, SO_DOMAIN, -1);
	return domain == AF_INET || domain == AF_INET6;
}

/* R_OK for the protocols we know, else R_UNSUPPORTED. */
static int check_sort(const struct taken_file *f, const struct sk_sort *sort)
{
	bool known = sort->type == SOCK_RAW;

	if (sort->type == SOCK_STREAM)
		known = sort->protocol == IPPROTO_TCP;
	if (sort->type == SOCK_DGRAM)
		known = sort->protocol == IPPROTO_UDP || sort->protocol == IPPROTO_UDPLITE ||
			sort->protocol == IPPROTO_ICMP || sort->protocol == IPPROTO_ICMPV6;
	if (known)
		return R_OK;
	warn("%s: sockets of type %d and IP protocol %d cannot be snapshotted", taken_file_name(f),
	     sort->type, sort->protocol);
	return R_UNSUPPORTED;
}

static int dump_address(struct fds_take *take, const struct taken_file *f, InetSkEntry *e,
			bool peer)
{
	union inet_address a = { 0 };
	socklen_t len = sizeof(a);
	bool v6 = e->family == AF_INET6;
	uint32_t **to = peer ? &e->dst_addr : &e->src_addr;
	int r = peer ? getpeername(f->local, &a.any, &len) : getsockname(f->local, &a.any, &len);

	*to = fds_take_alloc(take, 16);
	if (!*to)
		return R_FAILED;
	*(peer ? &e->n_dst_addr : &e->n_src_addr) = v6 ? 4 : 1;
	if (r < 0)
		return R_OK; /* none: all zeroes */
	memcpy(*to, v6 ? (void *)&a.v6.sin6_addr : (void *)&a.v4.sin_addr, v6 ? 16 : 4);
	*(peer ? &e->dst_port : &e->src_port) = ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port);
	if (peer && e->type != SOCK_STREAM)
		e->state = SK_ESTABLISHED;
	if (v6 && a.v6.sin6_scope_id) {
		char name[IF_NAMESIZE];

		if (!if_indextoname(a.v6.sin6_scope_id, name)) {
			warn("%s: bound to network interface %u, which is gone", taken_file_name(f),
			     a.v6.sin6_scope_id);
			return R_UNSUPPORTED;
		}
		e->ifname = fds_take_strdup(take, name);
		if (!e->ifname)
			return R_FAILED;
	}
	return R_OK;
}

static int dump_raw(struct fds_take *take, const struct taken_file *f, InetSkEntry *e)
{
	IpOptsRawEntry *raw = fds_take_alloc(take, sizeof(*raw));
	uint32_t filter[8] = { 0 };
	socklen_t len = sizeof(filter);
	bool v6 = e->family == AF_INET6;
	int r;

	if (!raw)
		return R_FAILED;
	ip_opts_raw_entry__init(raw);
	raw->has_hdrincl = true;
	raw->hdrincl = sk_get_int(f->local, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				  v6 ? IPV6_HDRINCL : IP_HDRINCL, 0) > 0;
	if (!v6) {
		raw->has_nodefrag = true;
		raw->nodefrag = sk_get_int(f->local, IPPROTO_IP, IP_NODEFRAG, 0) > 0;
	}
	r = v6 ? getsockopt(f->local, IPPROTO_ICMPV6, 1, filter, &len)
	       : getsockopt(f->local, IPPROTO_RAW, 1, filter, &len);
	if (!r) {
		raw->icmpv_filter = fds_take_alloc(take, len);
		if (!raw->icmpv_filter)
			return R_FAILED;
		memcpy(raw->icmpv_filter, filter, len);
		raw->n_icmpv_filter = len / sizeof(uint32_t);
	}
	e->ip_opts->raw = raw;
	return R_OK;
}

static int dump_ip_opts(struct fds_take *take, const struct taken_file *f, InetSkEntry *e)
{
	IpOptsEntry *o = fds_take_alloc(take, sizeof(*o));
	int fd = f->local;

	if (!o)
		return R_FAILED;
	ip_opts_entry__init(o);
	/* Raw IPv6 sockets have no IPv4 options. */
	if (e->family == AF_INET6 && e->type == SOCK_RAW)
		goto out;
	o->has_freebind = o->has_pktinfo = o->has_tos = o->has_ttl = true;
	o->freebind = sk_get_int(fd, IPPROTO_IP, IP_FREEBIND, 0) > 0;
	o->pktinfo = sk_get_int(fd, IPPROTO_IP, IP_PKTINFO, 0) > 0;
	o->tos = (uint32_t)sk_get_int(fd, IPPROTO_IP, IP_TOS, 0);
	o->ttl = (uint32_t)sk_get_int(fd, IPPROTO_IP, IP_TTL, 64);
out:
	e->ip_opts = o;
	if (e->family == AF_INET6) {
		e->has_v6only = true;
		e->v6only = sk_get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) > 0;
	}
	return e->type == SOCK_RAW ? dump_raw(take, f, e) : R_OK;
}

static int dump_tcp_opts(struct fds_take *take, const struct taken_file *f, InetSkEntry *e)
{
	TcpOptsEntry *o = fds_take_alloc(take, sizeof(*o));
	char ulp[32] = "";
	socklen_t len = sizeof(ulp);
	int fd = f->local;

	if (!o)
		return R_FAILED;
	if (!getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) && len && ulp[0]) {
		warn("%s: TCP with the protocol %.16s in the kernel cannot be snapshotted",
		     taken_file_name(f), ulp);
		return R_UNSUPPORTED;
	}
	tcp_opts_entry__init(o);
	o->has_cork = o->has_nodelay = o->has_keepcnt = o->has_keepidle = o->has_keepintvl = true;
	o->cork = sk_get_int(fd, IPPROTO_TCP, TCP_CORK, 0) > 0;
	o->nodelay = sk_get_int(fd, IPPROTO_TCP, TCP_NODELAY, 0) > 0;
	o->keepcnt = (uint32_t)sk_get_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 0);
	o->keepidle = (uint32_t)sk_get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0);
	o->keepintvl = (uint32_t)sk_get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 0);
	e->tcp_opts = o;
	return R_OK;
}

/* Asking with recv would take away an error that waits to be told; poll leaves all as it is. */
static short poll_now(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };

	return poll(&p, 1, 0) < 0 ? 0 : p.revents;
}

static int dump_tcp(struct fds_take *take, struct taken_file *f, InetSkEntry *e,
		    SnapSocketEntry *more)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	short events;
	int r = dump_tcp_opts(take, f, e);

	if (r)
		return r;
	if (getsockopt(f->local, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) {
		warn_errno("%s: cannot ask for the state of TCP", taken_file_name(f));
		return R_FAILED;
	}
	e->state = info.tcpi_state;
	if (e->state == SK_LISTEN) {
		e->backlog = info.tcpi_sacked;
		if (info.tcpi_unacked) {
			more->has_awaited = true;
			more->awaited = info.tcpi_unacked;
		}
		if (!info.tcpi_unacked || fds_take_tcp(take) == TCP_CLOSE)
			return R_OK;
		warn("%s: %u TCP connections await accept; take again when the program has "
		     "accepted them, or with --tcp=close",
		     taken_file_name(f), info.tcpi_unacked);
		return R_UNSUPPORTED;
	}
	if (e->state != SK_CLOSE)
		return tcp_dump(take, f, e, more);
	events = poll_now(f->local);
	if (events & (POLLRDHUP | POLLERR)) {
		more->has_reset = more->reset = true;
		more->has_reset_told = true;
		more->reset_told = !(events & POLLERR);
	}
	return R_OK;
}

/* UDP and the like.  A datagram under construction cannot be seen. */
static int dump_datagrams(const struct taken_file *f, InetSkEntry *e)
{
	struct inet_facts facts;
	int waiting = 0, level = (int)e->proto, r;

	if (e->type == SOCK_DGRAM && (level == IPPROTO_UDP || level == IPPROTO_UDPLITE) &&
	    sk_get_int(f->local, level, UDP_CORK, 0) > 0) {
		warn("%s: corked UDP socket cannot be snapshotted", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	if (e->state != SK_ESTABLISHED)
		e->state = SK_CLOSE;
	e->has_shutdown = true;
	r = R_NOT_FOUND;
	if (e->type == SOCK_DGRAM && (level == IPPROTO_UDP || level == IPPROTO_UDPLITE))
		r = sock_diag_inet((int)e->family, level, e->ino, &facts);
	if (r == R_FAILED)
		return r;
	if (r == R_OK) {
		e->shutdown = (SkShutdown)(facts.shutdown & 3);
	} else {
		short events = poll_now(f->local);

		e->shutdown = events & POLLHUP	   ? SK_SHUTDOWN__BOTH
			      : events & POLLRDHUP ? SK_SHUTDOWN__READ
						   : SK_SHUTDOWN__NONE;
	}
	if (poll_now(f->local) & POLLIN)
		waiting = 1;
	if (waiting && e->shutdown == SK_SHUTDOWN__NONE)
		detail("%s: datagrams that wait to be read are lost, as the network may lose them",
		       taken_file_name(f));
	return R_OK;
}

static int inet_dump(struct fds_take *take, struct taken_file *f)
{
	InetSkEntry *e = fds_take_alloc(take, sizeof(*e));
	SnapSocketEntry *more = sk_more_new(take, f);
	struct sk_sort sort;
	int r;

	if (!e || !more)
		return R_FAILED;
	sk_sort_of(f->local, &sort);
	r = sk_check_netns(f);
	if (!r)
		r = check_sort(f, &sort);
	if (r)
		return r;
	inet_sk_entry__init(e);
	e->id = f->id;
	e->ino = (uint32_t)f->st.st_ino;
	e->family = (uint32_t)sort.domain;
	e->type = (uint32_t)sort.type;
	e->proto = (uint32_t)sort.protocol;
	e->state = SK_CLOSE;
	e->flags = f->flags;
	e->fown = &f->fown;
	f->entry.isk = e;
	r = dump_address(take, f, e, false);
	if (!r)
		r = dump_address(take, f, e, true);
	if (!r)
		r = dump_ip_opts(take, f, e);
	if (!r)
		r = sk_opts_dump(take, f, &e->opts, more);
	if (!r)
		r = sort.type == SOCK_STREAM ? dump_tcp(take, f, e, more) : dump_datagrams(f, e);
	if (!r && sort.type != SOCK_STREAM)
		r = multicast_dump(take, f, more);
	if (r)
		return r;
	sk_more_put_owned(take, f, more);
	return R_OK;
}

static void inet_describe(const FileEntry *entry, char *buf, size_t len)
{
	const InetSkEntry *e = entry->isk;
	const char *v = e->family == AF_INET6 ? "6" : "";
	const char *name = e->type == SOCK_STREAM	 ? "tcp"
			   : e->type == SOCK_RAW	 ? "raw"
			   : e->proto == IPPROTO_UDP	 ? "udp"
			   : e->proto == IPPROTO_UDPLITE ? "udplite"
							 : "icmp";

	if (e->state == SK_LISTEN)
		snprintf(buf, len, "%s%s listening at port %u", name, v, e->src_port);
	else
		snprintf(buf, len, "%s%s port %u to port %u", name, v, e->src_port, e->dst_port);
}

const struct fd_kind fd_kind_inet = {
	.name = "inet socket",
	.type = FD_TYPES__INETSK,
	.probe = inet_probe,
	.dump = inet_dump,
	.load = sockets_load,
	.check = inet_check,
	.open = inet_open,
	.finish = inet_finish,
	.finish_all = inet_finish_all,
	.done = sockets_done,
	.describe = inet_describe,
};
